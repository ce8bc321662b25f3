"""Deadlines of many things, each by its key: which have passed, and when the next one does. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf

SPARE = 64
"""Entries of the heap beyond twice as many as there are deadlines, before it is made anew."""


class Deadlines:
    def __init__(self) -> None:
        self._due: dict[bytes, float] = {}
        self._heap: list[tuple[float, bytes]] = []
        """Also what was true before: an entry counts if the deadline is still that."""

    def set(self, key: bytes, due: float | None) -> None:
        """None, or infinity: there is none."""
        if due is None or due == inf:
            self._due.pop(key, None)
        elif self._due.get(key) != due:
            self._due[key] = due
            heappush(self._heap, (due, key))
            if len(self._heap) > 2 * len(self._due) + SPARE:
                self._heap = [(due, key) for key, due in self._due.items()]
                heapify(self._heap)

    def passed(self, now: float) -> list[bytes]:
        """Keys whose deadline has come, the earliest first. Each is told until it gets another deadline or none."""
        found: dict[bytes, float] = {}
        while self.next() <= now:
            due, key = heappop(self._heap)
            found[key] = due
        for key, due in found.items():
            heappush(self._heap, (due, key))
        return list(found)

    def next(self) -> float:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf
