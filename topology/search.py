"""Disjoint paths where a flow cannot find them: shared-risk groups, joint losses, and paths of limited length.

Each makes the problem hard in general, so the search is exact within fixed budgets that no realistic Braid reaches, and
deterministic beyond them.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from topology.network import Network, Walk

MAX_STEPS = 100_000
MAX_CANDIDATES = 512


class Candidate(NamedTuple):
    cost: float
    walk: Walk
    mask: int
    """A bit for each region and each risk group on the path: paths are disjoint when no bit is common."""


def cheapest_set(network: Network, source: str, destination: str, copies: int, longest: int) -> list[Walk]:
    """As many disjoint paths of at most ``longest`` intermediates as there are, up to ``copies``, cheapest."""
    found: list[Candidate] = []
    for candidate in candidates(network, source, destination, longest):
        found.append(candidate)
        if len(found) == MAX_CANDIDATES:
            break
    for count in range(min(copies, len(found)), 0, -1):
        if chosen := cheapest_combination(found, count, network.surcharge if network.penalty else None):
            return [candidate.walk for candidate in chosen]
    return []


def candidates(
    network: Network, source: str, destination: str, longest: int, *, useless: bool = False
) -> Iterator[Candidate]:
    """Paths, cheapest first, without those that a cheaper one makes useless because it occupies nothing else.

    In any disjoint set such a path can be replaced by the cheaper one, so leaving it out costs nothing and keeps the
    search small. ``useless`` keeps them.
    """
    ahead = network.ahead(destination).costs
    leave, arrive = network.leave[source], network.arrive[destination]
    queue: list[tuple[float, int, Walk, int, float]] = [
        (entry + ahead[first], 1, (first,), network.mask[first], entry + network.toll[first])
        for first, entry in enumerate(leave)
        if entry + ahead[first] < inf
    ]
    heapq.heapify(queue)
    complete: list[int] = []
    seen: dict[tuple[int, int], list[int]] = {}
    for _ in range(MAX_STEPS):
        if not queue:
            return
        _, hops, walk, mask, cost = heapq.heappop(queue)
        if not useless and any(other & mask == other for other in complete):
            continue
        if hops < 0:
            complete.append(mask)
            yield Candidate(cost, walk, mask)
            continue
        here = walk[-1]
        # A partial path is useless too when one to the same region was no dearer, no longer and occupied no more.
        rivals = [other for length in range(1, hops + 1) for other in seen.get((here, length), ())]
        if not useless and any(other & mask == other for other in rivals):
            continue
        seen.setdefault((here, hops), []).append(mask)
        if arrive[here] < inf:
            heapq.heappush(queue, (cost + arrive[here], -1, walk, mask, cost + arrive[here]))
        if hops == longest:
            continue
        for there, step in network.hop[here].items():
            if there not in walk and ahead[there] < inf:
                entry = cost + step
                reached = entry + network.toll[there]
                heapq.heappush(
                    queue, (entry + ahead[there], hops + 1, (*walk, there), mask | network.mask[there], reached)
                )


def cheapest_combination(
    found: Sequence[Candidate], count: int, surcharge: Callable[[Walk, Walk], float] | None = None
) -> tuple[Candidate, ...]:
    """The cheapest ``count`` disjoint candidates by branch and bound; empty when there are none.

    ``found`` is in rising order of cost. ``surcharge`` is what two walks cost together beyond their own costs.
    """
    best: tuple[Candidate, ...] = ()
    best_cost = inf
    steps = 0
    stack: list[tuple[int, float, int, tuple[Candidate, ...]]] = [(0, 0.0, 0, ())]
    while stack and steps < MAX_STEPS:
        position, cost, mask, chosen = stack.pop()
        missing = count - len(chosen)
        if cost >= best_cost:
            continue
        if missing == 0:
            best, best_cost = chosen, cost
            continue
        for index in range(len(found) - missing, position - 1, -1):
            steps += 1
            candidate = found[index]
            if candidate.mask & mask or cost + candidate.cost * missing >= best_cost:
                continue
            entry = cost + candidate.cost
            if surcharge is not None:
                entry += sum(surcharge(candidate.walk, other.walk) for other in chosen)
            stack.append((index + 1, entry, mask | candidate.mask, (*chosen, candidate)))
    return best
