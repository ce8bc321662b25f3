"""Topologies from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.check import Problem, TopologyError, check
from topology.text import MAX_BYTES, read

if TYPE_CHECKING:
    from pathlib import Path

    from topology.model import Topology


def load(path: Path) -> Topology:
    """Reads and checks a topology file. Raises ``TopologyError``, also when the file cannot be read."""
    try:
        with path.open("rb") as file:
            # One byte more than is accepted tells a file that is too large from one that just fits.
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem(str(path), "", f"cannot be read: {error.strerror}", "name a readable topology file")
        raise TopologyError([problem]) from error
    return parse(text, str(path))


def parse(text: str | bytes, file: str) -> Topology:
    """The topology that ``text`` describes; ``file`` is its name in messages. Raises ``TopologyError`` only."""
    data, report = read(text, file)
    return check(data, report)
