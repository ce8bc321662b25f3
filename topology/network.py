"""The regions as the solvers see them: numbered intermediates, exact costs, and a bit for each thing that may fail.

Costs are counted in millionths of the file's unit, and below that in hops, as integers held in floats: sums are exact,
of equally cheap paths the one with fewer hops wins, and the choice is the same on every machine.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from math import inf
from operator import add, itemgetter
from typing import TYPE_CHECKING, NamedTuple

from topology.graph import BESIDE
from topology.model import Role, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from topology.costs import Costs

MICRO = 1_000_000
MAX_INTERMEDIATES = 4
"""A hop header has room for four nodes behind the one that receives it."""
HOPS = 32
"""A set of four paths has at most 20 hops."""

LEAST_LEAD = 16
"""Intermediates that are looked at first; a quarter of them where there are more than 64."""

Walk = tuple[int, ...]
"""Intermediates of a path by number, from the source on."""


def units(cost: float, hops: int) -> float:
    return float(round(cost * MICRO) * HOPS + hops)


def plain_cost(total: float) -> float:
    """The cost in the file's unit; hops are left out."""
    return total // HOPS / MICRO


class Ahead(NamedTuple):
    """What lies between entering each intermediate and one destination."""

    within: tuple[list[float], ...]
    """The least cost from there on, its own toll included, over at most as many further intermediates as the position
    says; ``inf`` where there is no such way."""
    onward: tuple[list[int], ...]
    """The next intermediate on that way, -1 where it goes straight to the destination."""
    costs: list[float]
    """The last of ``within``: over as many as a path may have."""
    least: float
    """The least of the costs."""


class Lead(NamedTuple):
    """The intermediates nearest to an end region, by number in rising order."""

    numbers: tuple[int, ...]
    costs: list[float]
    """Of the link to each."""
    pick: Callable[[Sequence[float]], tuple[float, ...]]
    """Their items of a list that has one for each intermediate."""
    beyond: float
    """The least cost of a link to any other."""


class Network:
    """Paths from an end region over intermediates to an end region, without the intermediates of ``avoid``."""

    def __init__(self, topology: Topology, avoid: Iterable[str] = ()) -> None:
        avoided = frozenset(avoid)
        regions = topology.regions
        self.names = tuple(
            sorted(name for name in regions if regions[name].role is Role.INTERMEDIATE and name not in avoided)
        )
        self.index = {name: number for number, name in enumerate(self.names)}
        self.toll = [units(regions[name].price, 0) for name in self.names]
        """Cost of passing each intermediate."""
        groups = sorted({group for name in self.names for group in regions[name].risks})
        bit = {group: 1 << position for position, group in enumerate(groups, start=len(self.names))}
        self.risk = [sum(bit[group] for group in regions[name].risks) for name in self.names]
        """A bit for each shared-risk group of the region."""
        self.alone = [(name,) for name in self.names]
        """The regions of a path through this one only."""
        self.mask = [risk | 1 << number for number, risk in enumerate(self.risk)]
        """The same and one for the region itself: paths are disjoint when no bit is common."""
        self.hop: list[dict[int, float]] = [{} for _ in self.names]
        """Cost from each intermediate to each of its neighbouring intermediates."""
        self.leave: dict[str, list[float]] = {}
        """End region -> cost of the link to each intermediate."""
        self.arrive: dict[str, list[float]] = {}
        """End region -> cost of the link from each intermediate."""
        self.penalty: dict[tuple[int, int], float] = {}
        """Two intermediates, the lower number first -> cost of having them on two paths of one set."""
        self._ahead: dict[str, Ahead] = {}
        self._lead: dict[str, Lead] = {}
        for name, region in regions.items():
            if region.role is not Role.INTERMEDIATE and region.role not in BESIDE:
                self.leave[name] = [inf] * len(self.names)
                self.arrive[name] = [inf] * len(self.names)
        for link in topology.links:
            self._set_link(link.a, link.b, link.cost)
            self._set_link(link.b, link.a, link.cost)
        self.chained = any(self.hop)
        """Whether intermediates have links between them."""

    def update(self, costs: Costs) -> None:
        """Take over new costs; those of links and regions that are not here are ignored."""
        index, leave, arrive = self.index, self.leave, self.arrive
        for (here, there), cost in costs.links.items():
            if here in leave:
                row, number = leave[here], index.get(there)
            elif there in arrive:
                row, number = arrive[there], index.get(here)
            else:
                if self.has_link(here, there):
                    self._set_link(here, there, cost)
                continue
            if number is not None and row[number] < inf:
                row[number] = float(round(cost * MICRO) * HOPS + 1)
        for name, cost in costs.regions.items():
            if name in self.index:
                self.toll[self.index[name]] = units(cost, 0)
        for (one, other), cost in costs.pairs.items():
            if one in self.index and other in self.index:
                low, high = sorted((self.index[one], self.index[other]))
                self.penalty[low, high] = units(cost, 0)
                if not cost:
                    del self.penalty[low, high]
        self._ahead.clear()
        self._lead.clear()

    def has_link(self, here: str, there: str) -> bool:
        if here in self.index and there in self.index:
            return self.index[there] in self.hop[self.index[here]]
        if here in self.index:
            return there in self.arrive and self.arrive[there][self.index[here]] < inf
        return here in self.leave and there in self.index and self.leave[here][self.index[there]] < inf

    def ahead(self, destination: str) -> Ahead:
        known = self._ahead.get(destination)
        if known is None:
            within = [list(map(add, self.toll, self.arrive[destination]))]
            onward = [[-1] * len(self.names)]
            if self.chained:
                for _ in range(MAX_INTERMEDIATES - 1):
                    self._one_more(within, onward)
            costs = within[-1]
            known = self._ahead[destination] = Ahead(tuple(within), tuple(onward), costs, min(costs, default=inf))
        return known

    def lead(self, source: str) -> Lead:
        known = self._lead.get(source)
        if known is None:
            leave = self.leave[source]
            order = sorted(range(len(leave)), key=leave.__getitem__)
            size = max(LEAST_LEAD, len(order) // 4)
            numbers = tuple(sorted(order[:size]))
            beyond = leave[order[size]] if size < len(order) else inf
            pick = itemgetter(*numbers) if len(numbers) > 1 else tuple
            known = self._lead[source] = Lead(numbers, [leave[number] for number in numbers], pick, beyond)
        return known

    @contextmanager
    def banned(self, number: int) -> Iterator[None]:
        """Within it no path crosses this intermediate."""
        toll, ahead = self.toll[number], self._ahead
        self.toll[number], self._ahead = inf, {}
        try:
            yield
        finally:
            self.toll[number], self._ahead = toll, ahead

    def occupied(self, walk: Walk) -> int:
        mask = 0
        for number in walk:
            mask |= self.mask[number]
        return mask

    def length(self, source: str, walk: Walk, destination: str) -> float:
        total = self.leave[source][walk[0]] + self.arrive[destination][walk[-1]]
        total += sum(self.toll[number] for number in walk)
        return total + sum(self.hop[here][there] for here, there in pairwise(walk))

    def surcharge(self, one: Walk, other: Walk) -> float:
        """What it costs to have these two paths in one set."""
        if not self.penalty:
            return 0.0
        return sum(self.penalty.get((min(a, b), max(a, b)), 0.0) for a in one for b in other if a != b)

    def regions(self, walk: Walk) -> tuple[str, ...]:
        if len(walk) == 1:
            return self.alone[walk[0]]
        return tuple(self.names[number] for number in walk)

    def _set_link(self, here: str, there: str, cost: float) -> None:
        step = units(cost, 1)
        if here in self.leave:
            if there in self.index:
                self.leave[here][self.index[there]] = step
        elif here in self.index:
            if there in self.arrive:
                self.arrive[there][self.index[here]] = step
            elif there in self.index:
                self.hop[self.index[here]][self.index[there]] = step

    def _one_more(self, within: list[list[float]], onward: list[list[int]]) -> None:
        """Allow one intermediate more (Bellman and Ford)."""
        before = within[-1]
        best, following = before.copy(), onward[-1].copy()
        for here, links in enumerate(self.hop):
            toll = self.toll[here]
            for there, step in links.items():
                longer = toll + step + before[there]
                if longer < best[here]:
                    best[here], following[here] = longer, there
        within.append(best)
        onward.append(following)


def overlaps(masks: Sequence[int]) -> bool:
    """Whether any two have a bit in common."""
    union = 0
    for mask in masks:
        if union & mask:
            return True
        union |= mask
    return False
