"""Content proxies that this edge misses, and of which gateways are told: nobody answers, so a few times. Pure."""

from __future__ import annotations

from math import inf

AGAIN = 0.1
FOR = 1.5
"""Seconds. Clients' packets are dropped for longer, and then answered by a reset (``dataplane/core/src/owned.rs``)."""


class Missing:
    def __init__(self) -> None:
        self._missed: dict[int, tuple[float, float]] = {}
        """By number: until when it is said, and when next."""

    def down(self, node: int, now: float) -> None:
        self._missed[node] = (now + FOR, now)

    def up(self, node: int) -> None:
        self._missed.pop(node, None)

    def due(self, now: float) -> list[int]:
        """Of which nodes it is to be said now."""
        found = [node for node, (_, at) in self._missed.items() if at <= now]
        for node in found:
            until, at = self._missed[node]
            if at + AGAIN >= until:
                del self._missed[node]
            else:
                self._missed[node] = (until, at + AGAIN)
        return found

    def next_timeout(self) -> float:
        return min((at for _, at in self._missed.values()), default=inf)
