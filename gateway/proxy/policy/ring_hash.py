"""ring_hash: consistent hashing. A key stays at its server; when one leaves, only its keys move."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

from gateway.proxy.policy.hashing import hash64, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.policy.base import Load
    from topology.model import Target

POINTS = 100
"""On the ring, for the lightest server; others have more by their weight, up to ``MOST`` in all."""
MOST = 65_536


class RingHash:
    def __init__(self) -> None:
        self._servers: tuple[Target, ...] = ()
        self._ring: list[tuple[int, int]] = []

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        if self._servers != tuple(servers):
            self._servers, self._ring = tuple(servers), _ring(servers)
        position = bisect(self._ring, (key, len(servers))) % len(self._ring)
        return servers[self._ring[position][1]]


def _ring(servers: Sequence[Target]) -> list[tuple[int, int]]:
    lightest = min(server.weight for server in servers)
    per_weight = min(POINTS / lightest, MOST / sum(server.weight for server in servers))
    return sorted(
        (hash64(f"{name_of(server)} {point}"), index)
        for index, server in enumerate(servers)
        for point in range(max(1, round(server.weight * per_weight)))
    )
