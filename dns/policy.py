"""Which edge is named to a client. Pure: the cell says who is meant to serve it, standings say who can.

1. Edges that serve the client and are well, those with the longest matching prefix first.
2. Edges that serve it and carry the application somehow: just back, with too few disjoint paths, or full.
3. Edges that are meant for other clients, in the same two steps.
4. Edges that drain. 5. Nobody: the application's fallback.

Of the equals at the top those come first through which the client is clearly sooner at the application, then those
that are near it (``dns.distance``). Among what is left rendezvous hashing decides: a client keeps its edge as long as
that is among the best, and an edge that comes or goes moves only its own share (Thaler and Ravishankar 1998; with
weights as in Resch 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING

from dns.cells import BITS
from dns.distance import UNKNOWN, Way, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dns.cells import Cell

Order = tuple[int, ...]
"""Indices into the edges of the configuration, best first."""
STICKY_BITS = {4: 24, 6: 56}
"""Clients of one such prefix stay together; resolvers pass on no more of an address."""


class Standing(IntEnum):
    """What an edge can do for an application; a lower one is preferred."""

    UP = 0
    HOLDING = 1
    """Well again, but not for long enough to call clients back."""
    DEGRADED = 2
    """Carries it over fewer disjoint paths than the application asks for."""
    FULL = 3
    """Takes no more clients while another edge can."""
    DRAINING = 4
    DOWN = 5

    @property
    def works(self) -> bool:
        return self < Standing.DRAINING


@dataclass(frozen=True, slots=True)
class Candidate:
    edge: int
    standing: Standing
    group: int | None
    """Position among the groups that serve the client, from 0; None for an edge that is meant for others."""
    way: Way = UNKNOWN

    @property
    def rank(self) -> tuple[int, int, int]:
        """Lower is better; candidates of one rank are equals."""
        away = self.group is None
        group = -1 if self.group is None else self.group
        if self.standing.works:
            return (away, self.standing, group)
        return (self.standing, away, group)


@dataclass(frozen=True, slots=True)
class Ranking:
    candidates: tuple[Candidate, ...]
    """Every edge that has the application, best first; equals in the order of the topology file."""
    top: Order
    """The equals at the top by standing and prefix; empty when nobody is in working order."""
    fast: Order
    """Those of them that no other one is clearly faster than."""
    best: Order
    """Those of them that are near the client: one is named."""


def rank(
    cell: Cell, standing: Callable[[int], Standing | None], way: Callable[[int], Way] = lambda _edge: UNKNOWN
) -> Ranking:
    """``standing`` is None for an edge without the application."""
    candidates = [
        Candidate(edge, found, group, way(edge))
        for group, edges in (*enumerate(cell.serving), (None, cell.others))
        for edge in edges
        if (found := standing(edge)) is not None
    ]
    candidates.sort(key=lambda candidate: (candidate.rank, candidate.edge))
    if not candidates or candidates[0].standing is Standing.DOWN:
        return Ranking(tuple(candidates), (), (), ())
    highest = candidates[0].rank
    top = tuple(each.edge for each in candidates if each.rank == highest)
    fast, best = nearest(top, {each.edge: each.way for each in candidates}.__getitem__)
    candidates.sort(key=lambda each: (each.rank, each.edge not in best, each.edge not in fast, each.edge))
    return Ranking(tuple(candidates), top, fast, best)


def sticky_prefix(version: int, client: int) -> int:
    return client >> (BITS[version] - STICKY_BITS[version])


def prefer(equals: Order, names: Sequence[str], weights: Sequence[int], version: int, prefix: int) -> int:
    """Returns the one of ``equals`` that clients of a ``sticky_prefix`` get, by that and the edges' names alone: the
    same at every DNS node and after every start. ``names`` and ``weights`` are those of all edges."""
    key = prefix.to_bytes(8, "big") + bytes([version])
    return min(equals, key=lambda edge: _distance(key, names[edge].encode()) / weights[edge])


def spilled(share: float, name: str, version: int, prefix: int) -> bool:
    """Whether clients of a ``sticky_prefix`` are among the ``share`` that an edge wants named another one. Of a larger
    share the smaller one is a part, so that few are moved when it changes."""
    key = prefix.to_bytes(8, "big") + bytes([version])
    return int.from_bytes(blake2b(key, key=name.encode()[:64], digest_size=8, person=b"spill").digest(), "big") < (
        share * (1 << 64)
    )


def _distance(prefix: bytes, name: bytes) -> float:
    """Exponentially distributed with mean 1, so that dividing by weights gives shares in their proportion."""
    value = int.from_bytes(blake2b(prefix, key=name[:64], digest_size=8).digest(), "big")
    return -log((value + 1) / (1 << 64))
