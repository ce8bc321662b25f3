from __future__ import annotations

from itertools import combinations, pairwise, permutations, product
from pathlib import Path as File
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.model import DnsZone, Link, Region, Role, Topology
from topology.paths import MAX_INTERMEDIATES, Path, disjoint_paths, node_routes
from topology.source import load, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEMO = File(__file__).parents[2] / "lab" / "demo.yaml"


def graph(middle: dict[str, set[str]], links: dict[tuple[str, str], float]) -> Topology:
    """A Braid without nodes: edge region ``e``, gateway region ``g``, intermediates with their risk groups."""
    regions = {
        "e": Region("e", Role.EDGE, "", frozenset()),
        "g": Region("g", Role.GATEWAY, "", frozenset()),
        **{name: Region(name, Role.INTERMEDIATE, "", frozenset(risks)) for name, risks in middle.items()},
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
            stops = ("e", *regions, "g")
            pairs = list(pairwise(stops))
            if all(pair in cost for pair in pairs):
                yield regions, sum(cost[pair] for pair in pairs)


def occupied(topology: Topology, regions: tuple[str, ...]) -> set[str]:
    return set(regions).union(*({f"risk {risk}" for risk in topology.regions[name].shared_risk} for name in regions))


def brute_force(topology: Topology, copies: int) -> tuple[int, float]:
    """How many disjoint paths there are at most, up to ``copies``, and the least total cost of so many."""
    found = [(cost, occupied(topology, regions)) for regions, cost in every_path(topology)]
    for count in range(min(copies, len(found)), 0, -1):
        totals = [
            sum(cost for cost, _ in chosen)
            for chosen in combinations(found, count)
            if all(one.isdisjoint(other) for (_, one), (_, other) in combinations(chosen, 2))
        ]
        if totals:
            return count, min(totals)
    return 0, 0


@st.composite
def small_graphs(draw: st.DrawFn, risks: tuple[str, ...]) -> Topology:
    middle = [f"m{number}" for number in range(draw(st.integers(0, 5)))]
    groups = {name: draw(st.sets(st.sampled_from(risks), max_size=2)) if risks else set() for name in middle}
    pairs = [*product(("e", "g"), middle), *combinations(middle, 2)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    costs = {pair: draw(st.integers(0, 12)) / 2 for pair in chosen}
    return graph(groups, costs)


@settings(max_examples=300, deadline=None)
@given(small_graphs(risks=()), st.integers(1, 3))
def test_paths_equal_brute_force(topology: Topology, copies: int) -> None:
    compare(topology, copies)


@settings(max_examples=300, deadline=None)
@given(small_graphs(risks=("r", "s", "t")), st.integers(1, 3))
def test_paths_with_shared_risks_equal_brute_force(topology: Topology, copies: int) -> None:
    compare(topology, copies)


def compare(topology: Topology, copies: int) -> None:
    paths = disjoint_paths(topology, "e", "g", copies)
    count, total = brute_force(topology, copies)
    assert len(paths) == count
    assert sum(path.cost for path in paths) == total
    possible = dict(every_path(topology))
    assert all(possible[path.regions] == path.cost for path in paths)
    for one, other in combinations(paths, 2):
        assert occupied(topology, one.regions).isdisjoint(occupied(topology, other.regions))
    assert list(paths) == sorted(paths, key=lambda path: path.cost)
    backward = disjoint_paths(topology, "g", "e", copies)
    assert (len(backward), sum(path.cost for path in backward)) == (count, total)


def test_order_of_regions_and_links_does_not_change_the_choice() -> None:
    names = ["a", "b", "c", "d"]
    links = dict.fromkeys(product(("e", "g"), names), 1.0)
    one = graph(plain(names), links)
    other = graph(plain(reversed(names)), dict(reversed(links.items())))
    assert disjoint_paths(one, "e", "g", 2) == disjoint_paths(other, "e", "g", 2)


def test_cheapest_single_path_is_given_up_where_it_blocks_two() -> None:
    """The trap of greedy removal: e-a-b-g is cheapest, and without a and b nothing is left."""
    links = {("e", "a"): 1, ("a", "b"): 1, ("b", "g"): 1, ("a", "g"): 9, ("e", "b"): 9}
    topology = graph({"a": set(), "b": set()}, links)
    assert disjoint_paths(topology, "e", "g", 1) == (Path(("a", "b"), 3),)
    assert disjoint_paths(topology, "e", "g", 2) == (Path(("a",), 10), Path(("b",), 10))


def test_regions_with_a_common_risk_are_not_combined() -> None:
    links = dict.fromkeys(product(("e", "g"), ("a", "b")), 1.0) | dict.fromkeys(product(("e", "g"), "c"), 9.0)
    topology = graph({"a": {"cable"}, "b": {"cable"}, "c": set()}, links)
    assert disjoint_paths(topology, "e", "g", 2) == (Path(("a",), 2), Path(("c",), 18))


def test_no_path_is_longer_than_the_route_field() -> None:
    chain = ["a", "b", "c", "d", "f"]
    links = {("e", "a"): 1.0, ("f", "g"): 1.0, **dict.fromkeys(pairwise(chain), 1.0)}
    assert disjoint_paths(graph(plain(chain), links), "e", "g", 1) == ()
    with_shortcut = graph(plain(chain), links | {("d", "g"): 50.0})
    assert disjoint_paths(with_shortcut, "e", "g", 1) == (Path(("a", "b", "c", "d"), 54),)


def test_avoided_regions_are_not_used() -> None:
    topology = load(DEMO)
    assert [path.regions for path in disjoint_paths(topology, "edge-fra", "gw-sto", 2)] == [("mid-ams",), ("mid-par",)]
    avoid = frozenset({"mid-ams"})
    assert [path.regions for path in disjoint_paths(topology, "edge-fra", "gw-sto", 2, avoid=avoid)] == [
        ("mid-par",),
        ("mid-lon",),
    ]


@pytest.mark.parametrize(("source", "destination"), [("dns", "gw-sto"), ("edge-fra", "mid-ams")])
def test_only_edges_and_gateways_have_paths(source: str, destination: str) -> None:
    assert disjoint_paths(load(DEMO), source, destination, 2) == ()


def test_routes_end_at_the_destination_and_skip_unusable_nodes() -> None:
    topology = load(DEMO)
    number = {name: node.number for name, node in topology.nodes.items()}
    routes = node_routes(topology, "gw-sto-1", "edge-fra-1", 2, usable=lambda name: name != "mid-ams-1")
    assert [route.nodes for route in routes] == [
        (number["mid-par-1"], number["edge-fra-1"]),
        (number["mid-lon-1"], number["edge-fra-1"]),
    ]
    assert [route.cost for route in routes] == [25, 27]
    assert node_routes(topology, "gw-sto-1", "edge-fra-1", 2, usable=lambda _: False) == ()


def test_a_failing_node_moves_only_its_own_routes() -> None:
    topology = parse(wide(edges=24, middle=4), "wide.yaml")
    edges = [name for name in topology.nodes if name.startswith("edge")]

    def through(usable: set[str]) -> dict[str, int]:
        return {
            edge: node_routes(topology, edge, "gw-1", 1, usable=lambda name: name in usable)[0].nodes[0]
            for edge in edges
        }

    all_nodes = {f"mid-{number}" for number in range(4)}
    before, after = through(all_nodes), through(all_nodes - {"mid-2"})
    lost = topology.nodes["mid-2"].number
    assert len(set(before.values())) == 4
    assert {edge for edge in edges if before[edge] != after[edge]} == {edge for edge in edges if before[edge] == lost}


def wide(edges: int, middle: int) -> str:
    lines = ["braid: 1", "name: wide", "zone: {name: apps.example}", "regions:"]
    lines += ["  e: {role: edge}", "  m: {role: intermediate}", "  g: {role: gateway}", "nodes:"]
    lines += [
        f"  edge-{n}: {{region: e, underlay: [192.0.2.{n + 1}], vip_pools: [10.1.{n}.0/28]}}" for n in range(edges)
    ]
    lines += [f"  mid-{n}: {{region: m, underlay: [198.51.100.{n + 1}]}}" for n in range(middle)]
    lines += ["  gw-1: {region: g, underlay: [203.0.113.1], snat_pools: [10.2.0.0/30]}"]
    return "\n".join(lines)
