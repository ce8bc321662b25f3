"""What changed at a node, in words: the last 200 events, each with its cause. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT = 200


class Kind(StrEnum):
    NEIGHBOUR = "neighbour"
    PATH = "path"
    PATH_SET = "path_set"
    PROTECTION = "protection"
    GATEWAY = "gateway"
    TARGET = "target"
    TOPOLOGY = "topology"
    NODE = "node"


class Tone(StrEnum):
    BAD = "bad"
    GOOD = "good"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Change:
    at: float
    """Unix time in seconds."""
    kind: Kind
    tone: Tone
    subject: str
    """Name of the neighbour, application or target; peer and path regions as ``PEER via REGIONS``."""
    text: str
    cause: str = ""


class ChangeLog:
    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self.counts: Counter[tuple[Kind, Tone]] = Counter()
        """Since the node's start."""

    def add(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._changes.append(change)
            self.counts[change.kind, change.tone] += 1

    def last(self, count: int = KEPT) -> tuple[Change, ...]:
        """Newest first."""
        return tuple(reversed(self._changes))[:count]

    def about(self, subjects: frozenset[str], count: int) -> tuple[Change, ...]:
        """Those of some subjects, newest first."""
        return tuple(change for change in self.last() if change.subject in subjects)[:count]


def clock(at: float) -> str:
    """Time of day, "12:03:04 UTC"."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
