"""Path choice between regions: the cheapest disjoint set, kept until a cost changes that matters for it.

Two paths are disjoint when they share no intermediate region, provider or shared-risk group. Asked for k, the answer
has as many disjoint paths as there are, at most k, of least total cost; where there are fewer than k it is filled up to
the k paths that overlap least, and says what they share. The same topology and costs give the same answer everywhere.

Three steps, each tried when the one before cannot prove its answer: ``topology.nearest``, ``topology.disjoint`` (both
fast), ``topology.search``.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from topology.costs import Costs
from topology.disjoint import region_disjoint
from topology.nearest import nearest
from topology.network import MAX_INTERMEDIATES, Network, overlaps, plain_cost, units
from topology.overlap import least_overlapping, overlap
from topology.search import cheapest_set

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.model import Topology
    from topology.network import Walk

MOST_VIEWS = 16
"""Sets of unusable nodes for which results are kept; the one used longest ago goes first."""
MOST_CHANGES = 0.1
"""Share of all links up to which looking for what changed is cheaper than choosing anew."""
NOTHING: frozenset[str] = frozenset()
NOTHING_SHARED: tuple[str, ...] = ()


class Path(NamedTuple):
    regions: tuple[str, ...]
    """Intermediate regions, from the source on; at most ``MAX_INTERMEDIATES``."""
    cost: float


class Choice(NamedTuple):
    paths: tuple[Path, ...] = ()
    """Cheapest first."""
    overlap: tuple[str, ...] = ()
    """What paths of the set share, in words: ``provider telia``. Empty when all are disjoint."""

    @property
    def cost(self) -> float:
        return sum(path.cost for path in self.paths)


class _Kept(NamedTuple):
    choice: Choice
    firsts: tuple[int, ...]
    """Number of the first intermediate of each path."""
    limit: float
    """As in ``topology.nearest``."""


class _View:
    """One network, and what was chosen in it: (source, copies) -> destination -> choice."""

    def __init__(self, topology: Topology, costs: Costs, without: frozenset[str]) -> None:
        self.room: dict[str, int] = {}
        members: set[str] = set()
        for node in topology.nodes.values():
            members.add(node.region)
            if node.name not in without:
                self.room[node.region] = self.room.get(node.region, 0) + 1
        self.network = Network(topology, (region for region in members if region not in self.room))
        self.network.update(costs)
        self.rows: dict[tuple[str, int], dict[str, _Kept]] = {}
        self.before: dict[tuple[str, int], dict[str, _Kept]] = {}
        """What was chosen at the costs before: of use as a guess."""


NO_ROW: dict[str, _Kept] = {}


class Planner:
    """Choices between the end regions of one topology, at the file's costs until ``update`` brings others."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._views: dict[frozenset[str], _View] = {}
        self._links: dict[tuple[str, str], float] = {}
        self._regions: dict[str, float] = {}
        self._pairs: dict[tuple[str, str], float] = {}

    def choose(self, source: str, destination: str, copies: int, *, without: frozenset[str] = NOTHING) -> Choice:
        """Paths between two regions that cross none of the nodes ``without``.

        KeyError for an unknown region; nothing between regions of other roles than edge and gateway.
        """
        view = self._view(without)
        row = view.rows.get((source, copies))
        if row is None:
            row = view.rows[source, copies] = {}
        kept = row.get(destination)
        if kept is None:
            before = view.before.get((source, copies), NO_ROW).get(destination)
            guess = before.limit if before else -inf
            kept = row[destination] = self._solve(view, source, destination, copies, guess)
        return kept.choice

    def again(
        self, source: str, destination: str, kept: Sequence[tuple[str, ...]], *, without: frozenset[str] = NOTHING
    ) -> Choice | None:
        """These very paths, by their intermediate regions, at the present costs; None where they cannot be used."""
        view = self._view(without)
        network = view.network
        crossed = Counter(region for regions in kept for region in regions)
        if any(count > view.room.get(region, 0) for region, count in crossed.items()):
            return None
        hops = [hop for regions in kept for hop in pairwise((source, *regions, destination))]
        if not all(kept) or not all(network.has_link(*hop) for hop in hops):
            return None
        walks = [tuple(network.index[region] for region in regions) for regions in kept]
        found = [Path(network.regions(walk), plain_cost(network.length(source, walk, destination))) for walk in walks]
        found.sort(key=lambda path: (path.cost, len(path.regions), path.regions))
        return Choice(tuple(found), overlap(network, self.topology, walks))

    @property
    def charges(self) -> dict[frozenset[str], float]:
        """Of two regions, for having them in one set."""
        return {frozenset(pair): cost for pair, cost in self._pairs.items() if cost}

    def total(self, choice: Choice) -> float:
        """What the set costs, with what is charged for having two of its regions together."""
        charges = self.charges
        together = (
            charges.get(frozenset((a, b)), 0.0)
            for one, other in combinations(choice.paths, 2)
            for a in one.regions
            for b in other.regions
            if a != b
        )
        return choice.cost + sum(together)

    def runner_up(self, source: str, destination: str, copies: int, *, without: frozenset[str] = NOTHING) -> Choice:
        """The best that is left when one of the chosen intermediate regions may not be used.

        Empty where that leaves fewer paths, or paths that share more.
        """
        chosen = self.choose(source, destination, copies, without=without)
        view = self._view(without)
        rivals = []
        for region in {region: None for path in chosen.paths for region in path.regions}:
            with view.network.banned(view.network.index[region]):
                rival = self._solve(view, source, destination, copies).choice
            if len(rival.paths) == len(chosen.paths) and len(rival.overlap) <= len(chosen.overlap):
                rivals.append(rival)
        return min(rivals, key=lambda choice: choice.cost, default=Choice())

    def update(self, costs: Costs) -> None:
        """New costs, of what changed only."""
        self._links.update(costs.links)
        self._regions.update(costs.regions)
        self._pairs.update(costs.pairs)
        for view in self._views.values():
            few = len(costs.links) + len(costs.regions) <= len(self.topology.links) * MOST_CHANGES
            if few and not view.network.chained and not costs.pairs:
                _forget_what_changed(view, costs)
            else:
                view.rows, view.before = {}, view.rows
            view.network.update(costs)

    def _costs(self) -> Costs:
        return Costs(self._links, self._regions, self._pairs)

    def _view(self, without: frozenset[str]) -> _View:
        view = self._views.pop(without, None)
        if view is None:
            view = _View(self.topology, self._costs(), without)
            while len(self._views) >= MOST_VIEWS:
                del self._views[next(iter(self._views))]
        # Taken out and put back: the order of the dictionary is the order of last use.
        self._views[without] = view
        return view

    def _solve(self, view: _View, source: str, destination: str, copies: int, guess: float = -inf) -> _Kept:
        network = view.network
        if copies < 1 or source not in network.leave or destination not in network.leave:
            self._check_known(source, destination)
            return _Kept(Choice(), (), -inf)
        near = nearest(network, source, destination, copies, guess)
        if near is not None and (len(near.firsts) == copies or not near.firsts):
            return _Kept(Choice(tuple(map(Path, near.regions, map(plain_cost, near.totals)))), near.firsts, near.limit)
        walks = self._disjoint(network, source, destination, copies)
        limit, shared = near.limit if near else inf, NOTHING_SHARED
        for count in range(copies, len(walks), -1):
            more = least_overlapping(network, self.topology, source, destination, count, view.room)
            if more:
                walks, limit, shared = more, inf, overlap(network, self.topology, more)
                break
        found = [Path(network.regions(walk), plain_cost(network.length(source, walk, destination))) for walk in walks]
        found.sort(key=lambda path: (path.cost, len(path.regions), path.regions))
        return _Kept(Choice(tuple(found), shared), tuple(walk[0] for walk in walks), limit)

    def _check_known(self, *regions: str) -> None:
        for region in regions:
            self.topology.regions[region]

    def _disjoint(self, network: Network, source: str, destination: str, copies: int) -> list[Walk]:
        walks = region_disjoint(network, source, destination, copies)
        surcharged = any(network.surcharge(one, other) for one, other in combinations(walks, 2))
        long = any(len(walk) > MAX_INTERMEDIATES for walk in walks)
        if surcharged or long or overlaps([network.occupied(walk) for walk in walks]):
            return cheapest_set(network, source, destination, len(walks))
        return walks


def _forget_what_changed(view: _View, costs: Costs) -> None:
    """Drop the choices that the new costs may make wrong, before the network takes them over.

    A choice holds as long as its own costs do not change, and nothing that became cheaper comes below its limit.
    """
    network = view.network
    leaving: dict[str, dict[int, float]] = {}
    arriving: dict[str, dict[int, float]] = {}
    for (here, there), cost in costs.links.items():
        if not network.has_link(here, there):
            continue
        if here in network.leave:
            number = network.index[there]
            leaving.setdefault(here, {})[number] = units(cost, 1) - network.leave[here][number]
        else:
            number = network.index[here]
            arriving.setdefault(there, {})[number] = units(cost, 1) - network.arrive[there][number]
    passing = {
        network.index[name]: units(cost, 0) - network.toll[network.index[name]]
        for name, cost in costs.regions.items()
        if name in network.index
    }
    for (source, _), row in view.rows.items():
        leave, left = network.leave[source], leaving.get(source, {})
        for destination, kept in list(row.items()):
            arrived = arriving.get(destination, {})
            ahead = network.ahead(destination).costs
            for number in left.keys() | arrived.keys() | passing.keys():
                change = left.get(number, 0.0) + arrived.get(number, 0.0) + passing.get(number, 0.0)
                cheaper = change < 0 and leave[number] + ahead[number] + change <= kept.limit
                if cheaper or (change and number in kept.firsts):
                    del row[destination]
                    break
