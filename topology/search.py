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


NONE: tuple[Candidate, ...] = ()


def cheapest_set(network: Network, source: str, destination: str, copies: int) -> list[Walk]:
    """As many disjoint paths as there are, up to ``copies``, cheapest."""
    surcharge = network.surcharge if network.penalty else None
    found: list[Candidate] = []
    best, best_cost = NONE, inf
    for candidate in candidates(network, source, destination):
        if (found[0].cost * (copies - 1) if found else 0.0) + candidate.cost >= best_cost:
            break
        # A set that was not possible before holds the new candidate.
        chosen, cost = cheapest_combination(found, copies, surcharge, (candidate,), best_cost)
        if chosen:
            best, best_cost = chosen, cost
        found.append(candidate)
        if len(found) == MAX_CANDIDATES:
            break
    for count in range(copies - 1, 0, -1):
        if not best:
            best, _ = cheapest_combination(found, count, surcharge)
    return [candidate.walk for candidate in best]


def candidates(network: Network, source: str, destination: str, *, useless: bool = False) -> Iterator[Candidate]:
    """Paths, cheapest first, without those that a cheaper one makes useless because it occupies nothing else.

    In any disjoint set such a path can be replaced by the cheaper one, so leaving it out costs nothing and keeps the
    search small. ``useless`` keeps them.
    """
    within = network.ahead(destination).within
    last = len(within) - 1
    leave, arrive = network.leave[source], network.arrive[destination]
    queue: list[tuple[float, int, Walk, int, float]] = [
        (entry + within[last][first], 0, (first,), network.mask[first], entry + network.toll[first])
        for first, entry in enumerate(leave)
        if entry + within[last][first] < inf
    ]
    heapq.heapify(queue)
    complete: list[int] = []
    seen: dict[int, list[tuple[int, float, int]]] = {}
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
        rivals = seen.setdefault(here, [])
        if not useless and any(
            length <= hops and price <= cost and other & mask == other for length, price, other in rivals
        ):
            continue
        rivals.append((hops, cost, mask))
        if arrive[here] < inf:
            heapq.heappush(queue, (cost + arrive[here], -1, walk, mask, cost + arrive[here]))
        if hops == last:
            continue
        ahead = within[last - hops - 1]
        for there, step in network.hop[here].items():
            if there not in walk and ahead[there] < inf:
                entry = cost + step
                longer = (entry + ahead[there], hops + 1, (*walk, there), mask | network.mask[there])
                heapq.heappush(queue, (*longer, entry + network.toll[there]))


def cheapest_combination(
    found: Sequence[Candidate],
    count: int,
    surcharge: Callable[[Walk, Walk], float] | None = None,
    begin: Sequence[Candidate] = NONE,
    limit: float = inf,
) -> tuple[tuple[Candidate, ...], float]:
    """The cheapest ``count`` disjoint candidates, those of ``begin`` among them, and their cost, by branch and bound.

    Empty when there are none that cost less than ``limit``. ``found`` is in rising order of cost. ``surcharge`` is what
    two walks cost together beyond their own costs.
    """
    best, best_cost = NONE, limit
    steps = 0
    union, spent = 0, 0.0
    for candidate in begin:
        union, spent = union | candidate.mask, spent + candidate.cost
    stack: list[tuple[int, float, int, tuple[Candidate, ...]]] = [(0, spent, union, tuple(begin))]
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
    return best, best_cost
