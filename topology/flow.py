"""Region-disjoint paths of least total cost, as a flow of minimum cost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import networkx as nx

from topology.model import Role, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

MICRO = 1_000_000
"""Costs are compared in millionths: integers keep the flow exact and the choice the same on every machine."""


class Between:
    """The part of the region graph that paths between two regions may use: its ends and the intermediates."""

    def __init__(self, topology: Topology, source: str, destination: str, avoid: Iterable[str]) -> None:
        avoided = frozenset(avoid)
        self.source = source
        self.destination = destination
        self.middle = sorted(
            region.name
            for region in topology.regions.values()
            if region.role is Role.INTERMEDIATE
            and region.name not in avoided
            and region.name not in (source, destination)
        )
        self.risks = {name: topology.regions[name].shared_risk for name in self.middle}
        self.cost: dict[str, dict[str, int]] = {name: {} for name in (source, *self.middle, destination)}
        self.float_cost: dict[tuple[str, str], float] = {}
        for link in topology.links:
            if link.a in self.cost and link.b in self.cost:
                self.cost[link.a][link.b] = self.cost[link.b][link.a] = round(link.cost * MICRO)
                self.float_cost[link.a, link.b] = self.float_cost[link.b, link.a] = link.cost

    def length(self, regions: tuple[str, ...]) -> float:
        """Cost of the path through these intermediates, in the file's unit."""
        stops = (self.source, *regions, self.destination)
        return sum(self.float_cost[pair] for pair in itertools.pairwise(stops))


def cheapest_flow(between: Between, copies: int) -> list[tuple[str, ...]]:
    """As many region-disjoint paths as there are, up to ``copies``, of least total cost; of equals, fewest hops.

    A region is split in two with one unit between the halves, so that at most one path crosses it. Shared risks and
    the length of a path are not looked at.
    """
    graph: nx.DiGraph[Any] = nx.DiGraph()
    start, end = (between.source, "out"), (between.destination, "in")
    graph.add_nodes_from(("tap", start, end))
    graph.add_edge("tap", start, capacity=copies, weight=0)
    # One hop weighs less than a millionth of cost, in all paths together; never 0, so that a flow holds no circles.
    unit = 2 * len(between.middle) + 2
    for region in between.middle:
        graph.add_edge((region, "in"), (region, "out"), capacity=1, weight=1)
    for here, links in sorted(between.cost.items()):
        for there, cost in sorted(links.items()):
            if here != between.destination and there != between.source:
                graph.add_edge((here, "out"), (there, "in"), capacity=1, weight=cost * unit + 1)
    flow = nx.max_flow_min_cost(graph, "tap", end)
    onward = {
        here: [there[0] for there, amount in sorted(flow[here, "out"].items()) if amount]
        for here in (between.source, *between.middle)
    }
    return [_follow(onward, first, between.destination) for first in onward[between.source]]


def _follow(onward: dict[str, list[str]], first: str, destination: str) -> tuple[str, ...]:
    regions = [first]
    while (following := onward[regions[-1]][0]) != destination:
        regions.append(following)
    return tuple(regions)
