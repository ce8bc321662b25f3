"""Disjoint paths where a flow cannot find them: shared-risk groups, and paths of limited length.

Both make the problem hard in general, so the search is exact within fixed budgets that no realistic Braid reaches, and
deterministic beyond them.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from topology.flow import Between

MAX_STEPS = 100_000
MAX_CANDIDATES = 512


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    cost: int
    regions: tuple[str, ...]
    mask: int
    """A bit for each region and each risk group on the path: paths are disjoint when no bit is common."""


def cheapest_set(between: Between, copies: int, max_length: int) -> list[tuple[str, ...]]:
    """As many risk-disjoint paths of at most ``max_length`` intermediates as there are, up to ``copies``, cheapest."""
    found: list[Candidate] = []
    for candidate in candidates(between, max_length):
        found.append(candidate)
        if len(found) == MAX_CANDIDATES:
            break
    for count in range(min(copies, len(found)), 0, -1):
        if chosen := _choose(found, count):
            return [candidate.regions for candidate in chosen]
    return []


def candidates(between: Between, max_length: int) -> Iterator[Candidate]:
    """Paths, cheapest first, without those that a cheaper one makes useless because it occupies nothing else.

    In any set such a path can be replaced by the cheaper one, so leaving it out costs nothing and keeps the search
    small.
    """
    bits = _bits(between)
    ahead = _distances(between)
    queue: list[tuple[int, int, tuple[str, ...], int, int]] = []
    if between.source in ahead:
        queue.append((ahead[between.source], 0, (), 0, 0))
    complete: list[int] = []
    seen: dict[tuple[str, int], list[int]] = {}
    for _ in range(MAX_STEPS):
        if not queue:
            return
        _, hops, regions, mask, cost = heapq.heappop(queue)
        here = regions[-1] if regions else between.source
        if any(other & mask == other for other in complete):
            continue
        if here == between.destination:
            complete.append(mask)
            yield Candidate(cost, regions[:-1], mask)
            continue
        # A partial path is useless too when one to the same region was no dearer, no longer and occupied no more.
        rivals = [other for length in range(hops + 1) for other in seen.get((here, length), ())]
        if any(other & mask == other for other in rivals):
            continue
        seen.setdefault((here, hops), []).append(mask)
        for there, step in between.cost[here].items():
            last = there == between.destination
            if there not in ahead or there in regions or there == between.source or (hops == max_length and not last):
                continue
            entry = cost + step
            longer = hops + (not last)
            heapq.heappush(queue, (entry + ahead[there], longer, (*regions, there), mask | bits[there], entry))


def _bits(between: Between) -> dict[str, int]:
    """Per region the bits that it occupies; the ends occupy none."""
    groups = sorted({group for risks in between.risks.values() for group in risks})
    group_bit = {group: 1 << position for position, group in enumerate(groups)}
    bits = {between.destination: 0, between.source: 0}
    for position, region in enumerate(between.middle, start=len(groups)):
        bits[region] = 1 << position
        for group in between.risks[region]:
            bits[region] |= group_bit[group]
    return bits


def _distances(between: Between) -> dict[str, int]:
    """Least cost from each region to the destination; regions that do not reach it are missing."""
    distances: dict[str, int] = {}
    queue = [(0, between.destination)]
    while queue:
        distance, here = heapq.heappop(queue)
        if here in distances:
            continue
        distances[here] = distance
        if here == between.source:
            continue
        for there, cost in between.cost[here].items():
            if there not in distances:
                heapq.heappush(queue, (distance + cost, there))
    return distances


def _choose(found: Sequence[Candidate], count: int) -> tuple[Candidate, ...]:
    """The cheapest ``count`` disjoint candidates by branch and bound; empty when there are none."""
    best: tuple[Candidate, ...] = ()
    best_cost = 0
    steps = 0
    stack: list[tuple[int, int, int, tuple[Candidate, ...]]] = [(0, 0, 0, ())]
    while stack and steps < MAX_STEPS:
        position, cost, mask, chosen = stack.pop()
        missing = count - len(chosen)
        if best and cost >= best_cost:
            continue
        if missing == 0:
            best, best_cost = chosen, cost
            continue
        for index in range(len(found) - missing, position - 1, -1):
            steps += 1
            candidate = found[index]
            bound = cost + candidate.cost * missing
            if not candidate.mask & mask and not (best and bound >= best_cost):
                stack.append((index + 1, cost + candidate.cost, mask | candidate.mask, (*chosen, candidate)))
    return best
