"""From measurements of links and paths between nodes to what crossing them costs, standing still in noise. Pure.

A link costs what the topology file says, and more where it is measured to be worse. Of a path from end to end, what its
links do not explain is charged to one of them: a fault that only whole paths show counts too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from topology.costs import Costs, link_cost, region_cost
from topology.held import Held, Measure
from topology.model import Role
from topology.steady import Steady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from topology.model import Topology

KEPT = 60.0
"""Seconds for which a link or a node of which nothing is heard any more keeps its cost."""
LOAD_STEP = 0.2
"""Busy share by which a node's load must differ before it counts."""

NodePair = tuple[str, str]
RegionPair = tuple[str, str]
"""Both: from, to."""
Nodes = tuple[str, ...]
"""All nodes of a path, both ends included."""


class Health:
    """``node`` is the one that chooses; all names are those of ``topology``."""

    def __init__(self, topology: Topology, node: str) -> None:
        self._topology = topology
        self._links: Held[NodePair] = Held(KEPT, topology.health)
        self._paths: Held[Nodes] = Held(topology.health.longest_hold, topology.health)
        self._loads: dict[str, Steady] = {}
        self._loads_heard: dict[str, float] = {}
        self._declared = {pair: link.cost for link in topology.links for pair in ((link.a, link.b), (link.b, link.a))}
        self._costs: dict[RegionPair, dict[NodePair, float]] = {pair: {} for pair in self._declared}
        """Of the links that were measured, by the regions that they join."""
        self._extra: dict[NodePair, float] = {}
        """What whole paths cost beyond their links, at the links that are charged with it."""
        self._told: dict[RegionPair, float] = dict(self._declared)
        middle = [region for region in topology.regions.values() if region.role is Role.INTERMEDIATE]
        self._tolls = {region.name: region.price for region in middle}

    @property
    def loads(self) -> dict[str, float]:
        """Busy share by node; it stands still in noise."""
        return {name: steady.value for name, steady in self._loads.items()}

    def node_cost(self, here: str, there: str) -> float | None:
        """Of the link between two nodes; None where nothing is measured."""
        known = self._costs[self._regions(here, there)].get((here, there))
        extra = self._extra.get((here, there))
        return known if extra is None else (self._floor(here, there) if known is None else known) + extra

    def link(self, here: str, there: str) -> Measure:
        """As it is counted."""
        return self._links[here, there]

    def path(self, nodes: Nodes) -> Measure:
        """One way and from end to end, as it is counted."""
        return self._paths[nodes]

    def flaps(self, here: str, there: str) -> int:
        """How often the link got bad again soon after it got better."""
        return self._links.relapses((here, there))

    def take_over(self, before: Health) -> Costs:
        """What was measured under another topology; returns all that is not as declared."""
        self._links.take_over(before._links)
        self._paths.take_over(before._paths)
        nodes = self._topology.nodes
        self._paths.keep(lambda path: all(name in nodes for name in path))
        self._links.keep(lambda pair: self._is_link(*pair))
        self._loads = {name: steady for name, steady in before._loads.items() if name in nodes}
        self._loads_heard = {name: before._loads_heard[name] for name in self._loads}
        for pair in self._links:
            self._set_link(pair)
        self._extra = self._charges()
        return self._changed(self._declared, self._tolls)

    def observe(
        self,
        links: Mapping[NodePair, Measure],
        round_trips: Mapping[Nodes, Measure],
        loads: Mapping[str, float],
        now: float,
    ) -> Costs:
        """Takes in what was measured since the last time; returns what changed, for ``Planner.update``.

        ``links`` are one way; ``round_trips`` holds the paths of this node that are measured from end to end, with the
        round trip as their delay: there on this path, back on the peer's quickest.
        """
        touched = self._links.observe({pair: measure for pair, measure in links.items() if self._is_link(*pair)}, now)
        for pair in touched:
            self._set_link(pair)
        nodes = self._topology.nodes
        whole = {path: measure for path, measure in round_trips.items() if all(name in nodes for name in path)}
        if self._paths.observe(one_way(whole, self._links.latest), now) or touched:
            before, self._extra = self._extra, self._charges()
            touched |= {
                pair for pair in before.keys() | self._extra.keys() if before.get(pair) != self._extra.get(pair)
            }
        busier = self._observe_loads(loads, now)
        return self._changed({self._regions(*pair) for pair in touched}, busier)

    def _regions(self, here: str, there: str) -> RegionPair:
        nodes = self._topology.nodes
        return nodes[here].region, nodes[there].region

    def _is_link(self, here: str, there: str) -> bool:
        nodes = self._topology.nodes
        return here in nodes and there in nodes and self._regions(here, there) in self._declared

    def _floor(self, here: str, there: str) -> float:
        return self._declared.get(self._regions(here, there), 0.0)

    def _set_link(self, pair: NodePair) -> None:
        held, known = self._links[pair], self._costs[self._regions(*pair)]
        if held.delay_ms is None and held.loss is None:
            known.pop(pair, None)
        else:
            known[pair] = link_cost(max(self._floor(*pair), held.delay_ms or 0.0), held.loss or 0.0)

    def _charges(self) -> dict[NodePair, float]:
        surplus = {path: self._surplus(path) for path in self._paths}
        extra: dict[NodePair, float] = {}
        for path, cost in surplus.items():
            if cost > 0:
                pair = _culprit(path, cost, surplus)
                extra[pair] = max(extra.get(pair, 0.0), cost)
        return {pair: cost for pair, cost in extra.items() if self._is_link(*pair)}

    def _surplus(self, path: Nodes) -> float:
        """What the path costs beyond its links."""
        held = self._paths[path]
        parts = 0.0
        for pair in pairwise(path):
            known = self._costs.get(self._regions(*pair), {}).get(pair)
            parts += self._floor(*pair) if known is None else known
        return max(0.0, link_cost(held.delay_ms or 0.0, held.loss or 0.0) - parts)

    def _observe_loads(self, loads: Mapping[str, float], now: float) -> set[str]:
        """Returns the regions whose nodes were heard of, or not any more."""
        for name, load in loads.items():
            steady = self._loads.setdefault(name, Steady(0.0, now))
            steady.observe(load, now, LOAD_STEP, LOAD_STEP, self._topology.health)
            self._loads_heard[name] = now
        gone = [name for name, heard in self._loads_heard.items() if now - heard > KEPT]
        for name in gone:
            del self._loads[name], self._loads_heard[name]
        nodes = self._topology.nodes
        return {nodes[name].region for name in (*loads, *gone) if name in nodes} & self._tolls.keys()

    def _changed(self, pairs: Iterable[RegionPair], regions: Iterable[str]) -> Costs:
        links = {}
        for pair in pairs:
            known = {*self._costs[pair], *(nodes for nodes in self._extra if self._regions(*nodes) == pair)}
            costs = [cost for nodes in known if (cost := self.node_cost(*nodes)) is not None]
            # The best of a region's nodes counts: among them the healthy ones are chosen.
            cost = min(costs, default=self._declared[pair])
            if self._told[pair] != cost:
                self._told[pair] = links[pair] = cost
        tolls = {name: toll for name in list(regions) if (toll := self._toll(name)) != self._tolls[name]}
        self._tolls |= tolls
        return Costs(links, tolls)

    def _toll(self, region: str) -> float:
        loads = [self._loads[node.name].value for node in self._topology.nodes_of(region) if node.name in self._loads]
        return region_cost(self._topology.regions[region].price, min(loads, default=0.0))


def one_way(round_trips: Mapping[Nodes, Measure], link: Callable[[NodePair], Measure]) -> dict[Nodes, Measure]:
    """The delay there of each path, from its round trip.

    The way back and the difference of the clocks are the same for all paths of a peer; so what the round trip has
    beyond the links is that, and on each path whatever it has beyond the path on which this is least.
    """
    beyond: dict[Nodes, tuple[float, float]] = {}
    for nodes, measure in round_trips.items():
        delays = [link(pair).delay_ms for pair in pairwise(nodes)]
        known = [delay for delay in delays if delay is not None]
        if measure.delay_ms is not None and len(known) == len(delays):
            beyond[nodes] = (measure.delay_ms - sum(known), sum(known))
    common: dict[str, float] = {}
    for nodes, (rest, _) in beyond.items():
        common[nodes[-1]] = min(rest, common.get(nodes[-1], rest))
    return {
        nodes: Measure(
            beyond[nodes][1] + beyond[nodes][0] - common[nodes[-1]] if nodes in beyond else None, measure.loss
        )
        for nodes, measure in round_trips.items()
    }


def _culprit(nodes: Nodes, surplus: float, all_of_them: Mapping[Nodes, float]) -> NodePair:
    """The last link of a path that no path with much less of a surplus crosses."""
    pairs = list(pairwise(nodes))
    clean: set[NodePair] = set()
    for other, cost in all_of_them.items():
        if cost < surplus / 2:
            clean.update(pairwise(other))
    return next((pair for pair in reversed(pairs) if pair not in clean), pairs[-1])
