"""What is wrong with a topology file, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key = tuple[str | int, ...]
"""The way to a value in the file: mapping keys and sequence positions from 0."""


def key_path(key: Key) -> str:
    """``("nodes", "edge-1", "underlay", 0)`` as ``nodes.edge-1.underlay[0]``; the whole file is the empty string."""
    path = ""
    for part in key:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: where it is, what it is, and what to do about it."""

    file: str
    key: str
    message: str
    remedy: str
    line: int | None = None
    """From 1; None when the problem has no place in the text (an unreadable file)."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        return f"{place}: {subject}{self.message}; {self.remedy}"


class TopologyError(Exception):
    """The file does not describe a Braid. ``problems`` holds at least one, in the order of the file's lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Report:
    """Collects the problems of one file and knows which line each key stands in."""

    file: str
    lines: Mapping[Key, int]
    problems: list[Problem] = field(default_factory=list)

    def add(self, key: Key, message: str, remedy: str, line: int | None = None) -> None:
        place = self.line_of(key) if line is None else line
        self.problems.append(Problem(self.file, key_path(key), message, remedy, place))

    def line_of(self, key: Key) -> int:
        """Of the key itself, or of the nearest enclosing one that is written in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def raise_if_any(self) -> None:
        if self.problems:
            raise TopologyError(self.problems)
