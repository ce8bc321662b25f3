"""What the planner is compared with: networkx's network simplex, and every combination of every path."""

from __future__ import annotations

from itertools import combinations, pairwise, permutations
from typing import TYPE_CHECKING, Any

import networkx as nx

from topology.model import DnsZone, Link, Region, Role, Topology
from topology.network import MAX_INTERMEDIATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MICRO = 1_000_000
PairCosts = "Mapping[frozenset[str], float]"


def graph(
    middle: Mapping[str, set[str]],
    links: Mapping[tuple[str, str], float],
    *,
    price: Mapping[str, float] | None = None,
    provider: Mapping[str, str] | None = None,
) -> Topology:
    """A Braid without nodes: edge region ``e``, gateway region ``g``, intermediates with their risk groups."""
    prices, providers = price or {}, provider or {}
    regions = {
        "e": Region("e", Role.EDGE, "", frozenset()),
        "g": Region("g", Role.GATEWAY, "", frozenset()),
        **{
            name: Region(name, Role.INTERMEDIATE, "", frozenset(risks), providers.get(name, ""), prices.get(name, 0.0))
            for name, risks in middle.items()
        },
    }
    edges = tuple(Link(a, b, cost) for (a, b), cost in links.items())
    return Topology("t", regions, {}, edges, {}, (), DnsZone("apps.example", 30, "hostmaster.apps.example"))


def plain(names: Iterable[str]) -> dict[str, set[str]]:
    """Intermediate regions without risk groups."""
    return {name: set() for name in names}


def every_path(topology: Topology) -> Iterator[tuple[tuple[str, ...], float]]:
    cost = {pair: link.cost for link in topology.links for pair in ((link.a, link.b), (link.b, link.a))}
    middle = [name for name, region in topology.regions.items() if region.role is Role.INTERMEDIATE]
    for length in range(1, min(len(middle), MAX_INTERMEDIATES) + 1):
        for regions in permutations(middle, length):
            pairs = list(pairwise(("e", *regions, "g")))
            if all(pair in cost for pair in pairs):
                tolls = sum(topology.regions[name].price for name in regions)
                yield regions, sum(cost[pair] for pair in pairs) + tolls


def occupied(topology: Topology, regions: tuple[str, ...]) -> set[str]:
    return set(regions).union(*({f"risk {risk}" for risk in topology.regions[name].risks} for name in regions))


def brute_force(
    topology: Topology, copies: int, pairs: Mapping[frozenset[str], float] | None = None
) -> tuple[int, float]:
    """How many disjoint paths there are at most, up to ``copies``, and the least total cost of so many.

    ``pairs`` is what two regions cost on two paths of one set.
    """
    found = [(cost, regions, occupied(topology, regions)) for regions, cost in every_path(topology)]
    extra = pairs or {}
    for count in range(min(copies, len(found)), 0, -1):
        totals = [
            sum(cost for cost, _, _ in chosen)
            + sum(
                extra.get(frozenset((a, b)), 0.0)
                for (_, one, _), (_, other, _) in combinations(chosen, 2)
                for a in one
                for b in other
            )
            for chosen in combinations(found, count)
            if all(one.isdisjoint(other) for (_, _, one), (_, _, other) in combinations(chosen, 2))
        ]
        if totals:
            return count, min(totals)
    return 0, 0


def network_simplex(topology: Topology, source: str, destination: str, copies: int) -> tuple[int, float]:
    """The same by minimum cost flow; shared risks and the length of a path are not looked at.

    A region is split in two with one unit between the halves, so that at most one path crosses it.
    """
    middle = [region.name for region in topology.regions.values() if region.role is Role.INTERMEDIATE]
    split: nx.DiGraph[Any] = nx.DiGraph()
    start, end = (source, "out"), (destination, "in")
    split.add_nodes_from((start, end))
    for name in middle:
        price = round(topology.regions[name].price * MICRO)
        split.add_edge((name, "in"), (name, "out"), capacity=1, weight=price)
    for link in topology.links:
        for here, there in ((link.a, link.b), (link.b, link.a)):
            if here in (source, *middle) and there in (destination, *middle):
                split.add_edge((here, "out"), (there, "in"), capacity=1, weight=round(link.cost * MICRO))
    count = min(copies, int(nx.maximum_flow_value(split, start, end)) if copies else 0)
    split.add_nodes_from([(start, {"demand": -count}), (end, {"demand": count})])
    cost, _ = nx.network_simplex(split)
    return count, cost / MICRO
