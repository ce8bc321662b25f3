"""CPU time of processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TICK = 1 / os.sysconf("SC_CLK_TCK")


def seconds(pids: Iterable[int]) -> float:
    """In user space and in the kernel, all threads; processes that are gone count nothing."""
    total = 0.0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            # proc(5): the name may hold spaces and parentheses; utime and stime are fields 14 and 15.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) * TICK
    return total


def of_each(nodes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    return {node: seconds(pids) for node, pids in nodes.items()}


def seconds_of_threads(pid: int, name: str) -> float:
    """Of the threads of a process whose names begin so."""
    total = 0.0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            head, _, rest = (thread / "stat").read_text().rpartition(")")
            if head.partition("(")[2].startswith(name):
                fields = rest.split()
                total += (int(fields[11]) + int(fields[12])) * TICK
    return total


def wakings_of_threads(pid: int, name: str) -> int:
    """How often the threads of a process whose names begin so went to sleep, and so were woken."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            if (thread / "comm").read_text().startswith(name):
                lines = (thread / "status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return total
