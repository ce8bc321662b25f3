"""Which edges an operator has taken out of the answers: a file beside the topology, one name in a line.

It survives restarts and wins over what edges report; an edge in it goes on forwarding for the clients it has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIX = ".drained"
_HEAD = "# Edges that DNS names to no new client. Written by `braid dns drain` and `braid dns undrain`.\n"
_MAX_BYTES = 1 << 20


def drain_file(topology: Path) -> Path:
    return topology.with_name(topology.name + SUFFIX)


def read_drained(file: Path) -> frozenset[str]:
    """Empty when there is no such file. OSError when it cannot be read."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(_MAX_BYTES)
    except FileNotFoundError:
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line for line in lines if line)


def write_drained(file: Path, names: Iterable[str]) -> None:
    """Replaces the file in one step, so that no reader sees half of it. OSError when it cannot be written."""
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(_HEAD + "".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
    os.replace(fresh, file)


class DrainFollower:
    """Reads the file again when it has changed; keeps the last good reading."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._seen: tuple[int, int, int] | None = None
        self._names: frozenset[str] = frozenset()

    def names(self) -> frozenset[str]:
        """Never raises: a file that cannot be read changes nothing."""
        if self._file is None:
            return self._names
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._seen, self._names = None, frozenset()
            return self._names
        except OSError:
            return self._names
        now = (status.st_mtime_ns, status.st_size, status.st_ino)
        if now != self._seen:
            try:
                self._names = read_drained(self._file)
            except OSError:
                return self._names
            self._seen = now
        return self._names
