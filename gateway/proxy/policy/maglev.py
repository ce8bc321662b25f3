"""maglev: a look-up table filled in turns (Eisenbud et al., NSDI 2016): even shares, and few keys move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.policy.hashing import hash64, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.policy.base import Load
    from topology.model import Target

SIZE = 5003
"""Entries; a prime. Shares are even to one in a hundred for up to 50 servers of equal weight."""


class Maglev:
    def __init__(self) -> None:
        self._servers: tuple[Target, ...] = ()
        self._table: list[int] = []

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        if self._servers != tuple(servers):
            self._servers, self._table = tuple(servers), _table(servers)
        return servers[self._table[key % SIZE]]


def _table(servers: Sequence[Target]) -> list[int]:
    """Servers take turns, heavier ones more often; each takes the next free entry of its own permutation."""
    names = [name_of(server) for server in servers]
    place = [hash64(name, b"offset") % SIZE for name in names]
    skip = [hash64(name, b"skip") % (SIZE - 1) + 1 for name in names]
    heaviest = max(server.weight for server in servers)
    credit = [0] * len(servers)
    table, free = [-1] * SIZE, SIZE
    while free:
        for index, server in enumerate(servers):
            credit[index] += server.weight
            if credit[index] < heaviest:
                continue
            credit[index] -= heaviest
            while table[place[index]] >= 0:
                place[index] = (place[index] + skip[index]) % SIZE
            table[place[index]] = index
            free -= 1
            if not free:
                break
    return table
