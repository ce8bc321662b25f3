"""What this node would serve to clients whose connections it is offered, exactly, for the data thread: it refuses the
others at once, while their clients wait, and tells afterwards. Pure.

It decides by the key alone, so what is in here may be refused all the same: that goes by what is asked.
"""

from __future__ import annotations

from heapq import heappop, heappush

SPARE = 1000
"""Moments that may be kept beside twice those that matter."""


class Serving:
    """Times are Unix seconds."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._due: list[tuple[float, bytes]] = []

    def set(self, key: bytes, until: float, now: float) -> bool | None:
        """It would be served until then. True: that is new; False: it is not any more; None: nothing has changed."""
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
        return None if known else True

    def expire(self, now: float) -> list[bytes]:
        """What is not good any more, now."""
        gone: list[bytes] = []
        while self._due and self._due[0][0] <= now:
            until, key = heappop(self._due)
            if self._until.get(key) == until:
                del self._until[key]
                gone.append(key)
        return gone
