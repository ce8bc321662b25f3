"""What this node would serve to clients whose connections it is offered, exactly, for the data thread: it refuses the
others at once, while their clients wait, and tells afterwards. Pure.

It decides by the key, and by what is stored under it, so what it leaves to us may be refused all the same: that goes by
who asks, too.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from braid.http import HOP_BY_HOP
from braid.stored import name
from content.policy import as_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from content.entry import Entry

MOST_TOLD = 1000
"""Bytes told of one key; where there were more we judge."""
_OURS = HOP_BY_HOP | {b"via", b"host"}
"""Fields whose values are other ones on the way to the origin."""
SPARE = 1000
"""Moments that may be kept beside twice those that matter."""


def told_of(key: str, variants: Sequence[Entry]) -> bytes:
    """A key and what is stored under it, as ``dataplane/line/src/words.rs`` has its picture."""
    answers: list[bytes] = []
    for entry in variants:
        lengths = [(len(field), len(value)) for field, value in entry.selecting]
        if any(field in _OURS for field, _ in entry.selecting) or sum(map(sum, lengths)) > 255:
            return name(key) + bytes(1)
        answers.append(as_answer(entry.head, entry.times, entry.selecting))
    told = name(key) + bytes([len(answers)]) + b"".join(answers)
    return told if len(told) <= MOST_TOLD else name(key) + bytes(1)


class Serving:
    """Times are Unix seconds."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._due: list[tuple[float, bytes]] = []

    def set(self, key: bytes, until: float, now: float) -> bool | None:
        """It would be served until then. True: now, too; False: not any more; None: it was not before either."""
        known = key in self._until
        if until <= now:
            self._until.pop(key, None)
            return False if known else None
        if self._until.get(key) != until:
            self._until[key] = until
            heappush(self._due, (until, key))
            if len(self._due) > 2 * len(self._until) + SPARE:
                # Most of it is of answers that were replaced since.
                self._due = sorted((until, key) for key, until in self._until.items())
        return True

    def expire(self, now: float) -> list[bytes]:
        """What is not good any more, now."""
        gone: list[bytes] = []
        while self._due and self._due[0][0] <= now:
            until, key = heappop(self._due)
            if self._until.get(key) == until:
                del self._until[key]
                gone.append(key)
        return gone
