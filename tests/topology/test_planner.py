from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise, product
from pathlib import Path as File
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.reference import brute_force, every_path, graph, network_simplex, occupied, plain
from topology.costs import Costs, link_cost, pair_cost, region_cost
from topology.disjoint import region_disjoint
from topology.network import Network, plain_cost
from topology.planner import Path, Planner
from topology.source import load

if TYPE_CHECKING:
    from topology.model import Topology

DEMO = File(__file__).parents[2] / "lab" / "demo.yaml"
RISKS = ("r", "s", "t")


@st.composite
def small_graphs(draw: st.DrawFn, risks: tuple[str, ...]) -> Topology:
    middle = [f"m{number}" for number in range(draw(st.integers(0, 5)))]
    groups = {name: draw(st.sets(st.sampled_from(risks), max_size=2)) if risks else set() for name in middle}
    pairs = [*product(("e", "g"), middle), *combinations(middle, 2)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    costs = {pair: draw(st.integers(0, 12)) / 2 for pair in chosen}
    return graph(groups, costs, price={name: draw(st.integers(0, 3)) / 2 for name in middle})


@settings(max_examples=300, deadline=None)
@given(small_graphs(risks=()), st.integers(1, 3))
def test_paths_equal_brute_force(topology: Topology, copies: int) -> None:
    compare(topology, copies)


@settings(max_examples=300, deadline=None)
@given(small_graphs(risks=RISKS), st.integers(1, 3))
def test_paths_with_shared_risks_equal_brute_force(topology: Topology, copies: int) -> None:
    compare(topology, copies)


def compare(topology: Topology, copies: int) -> None:
    count, total = brute_force(topology, copies)
    paths = Planner(topology).choose("e", "g", copies)
    possible = dict(every_path(topology))
    assert all(possible[path.regions] == path.cost for path in paths.paths)
    assert list(paths.paths) == sorted(paths.paths, key=lambda path: path.cost)
    assert bool(paths.overlap) == (len(paths.paths) > count)
    if not paths.overlap:
        assert (len(paths.paths), paths.cost) == (count, total)
        for one, other in combinations(paths.paths, 2):
            assert occupied(topology, one.regions).isdisjoint(occupied(topology, other.regions))
    backward = Planner(topology).choose("g", "e", copies)
    assert (len(backward.paths), backward.cost) == (len(paths.paths), paths.cost)


@settings(max_examples=200, deadline=None)
@given(small_graphs(risks=RISKS), st.integers(2, 3), st.data())
def test_measured_joint_losses_equal_brute_force(topology: Topology, copies: int, data: st.DataObject) -> None:
    middle = [name for name in topology.regions if name not in "eg"]
    joint = {pair: data.draw(st.integers(0, 8)) / 2 for pair in combinations(middle, 2)}
    planner = Planner(topology)
    planner.choose("e", "g", copies)
    planner.update(Costs(pairs=joint))
    chosen = planner.choose("e", "g", copies)
    cost = {frozenset(pair): value for pair, value in joint.items()}
    count, total = brute_force(topology, copies, cost)
    if not chosen.overlap:
        between = sum(
            cost[frozenset((a, b))] for p, q in combinations(chosen.paths, 2) for a in p.regions for b in q.regions
        )
        assert (len(chosen.paths), chosen.cost + between) == (count, total)


@pytest.mark.parametrize("seed", range(40))
def test_region_disjoint_sets_equal_network_simplex(seed: int) -> None:
    rng = Random(seed)
    for _ in range(5):
        middle = [f"m{number:02}" for number in range(rng.randint(1, 30))]
        density = rng.choice((0.05, 0.15, 0.4))
        pairs = [pair for pair in (*product("eg", middle), *combinations(middle, 2)) if rng.random() < density]
        topology = graph(plain(middle), {pair: rng.randint(0, 50) / 4 for pair in pairs})
        for copies in (1, 2, 3, 4):
            network = Network(topology)
            walks = region_disjoint(network, "e", "g", copies)
            cost = sum(plain_cost(network.length("e", walk, "g")) for walk in walks)
            assert (len(walks), cost) == network_simplex(topology, "e", "g", copies)
            assert len({number for walk in walks for number in walk}) == sum(map(len, walks))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("groups", [0, 4, 15])
def test_choices_among_many_intermediates_equal_brute_force(seed: int, groups: int) -> None:
    """So many that only those near the source are looked at first."""
    rng = Random(seed)
    names = [f"m{number:02}" for number in range(90)]
    middle = {name: {f"p{rng.randrange(groups)}"} if groups else set() for name in names}
    topology = graph(middle, {(end, name): rng.randint(1, 400) / 4 for end in "eg" for name in names})
    singles = [(sum(link.cost for link in topology.links if link.b == name), name) for name in names]
    planner = Planner(topology)
    assert planner.choose("e", "g", 1).cost == min(singles)[0]
    pairs = (p[0] + q[0] for p, q in combinations(singles, 2) if middle[p[1]].isdisjoint(middle[q[1]]))
    assert planner.choose("e", "g", 2).cost == min(pairs)
    threes = (
        p[0] + q[0] + r[0]
        for p, q, r in combinations(sorted(singles)[:40], 3)
        if len(middle[p[1]] | middle[q[1]] | middle[r[1]]) == (3 if groups else 0)
    )
    assert planner.choose("e", "g", 3).cost == min(threes)


@pytest.mark.parametrize("seed", range(10))
def test_incremental_choices_equal_choices_from_scratch(seed: int) -> None:
    """One intermediate per path: here choices are kept over updates."""
    rng = Random(seed)
    middle = {f"m{number:02}": set(rng.sample(RISKS, rng.choice((0, 0, 1)))) for number in range(12)}
    links = {pair: float(rng.randint(1, 30)) for pair in product("eg", middle)}
    planner = Planner(graph(middle, links))
    price = dict.fromkeys(middle, 0.0)
    for _ in range(150):
        for copies in (1, 2, 3):
            fresh = Planner(graph(middle, links, price=price))
            assert planner.choose("e", "g", copies) == fresh.choose("e", "g", copies)
        end, name = rng.choice("eg"), rng.choice(sorted(middle))
        if rng.random() < 0.7:
            links[end, name] = float(rng.randint(1, 30))
            cost = links[end, name]
            planner.update(Costs(links={(end, name): cost, (name, end): cost}))
        else:
            price[name] = float(rng.randint(0, 10))
            planner.update(Costs(regions={name: price[name]}))


def test_an_update_that_matters_for_nobody_keeps_the_choice() -> None:
    names = [f"m{number:02}" for number in range(20)]
    links = {(end, name): 1.0 + number for number, name in enumerate(names) for end in "eg"}
    planner = Planner(graph(plain(names), links))
    before = planner.choose("e", "g", 2)
    planner.update(Costs(links={("m19", "g"): 5.0}))
    assert planner.choose("e", "g", 2) is before
    planner.update(Costs(links={("e", "m02"): 0.5}))
    after = planner.choose("e", "g", 2)
    assert [path.regions for path in after.paths] == [("m00",), ("m02",)]
    planner.update(Costs(links={("e", "m00"): 90.0}))
    assert [path.regions for path in planner.choose("e", "g", 2).paths] == [("m02",), ("m01",)]


@settings(max_examples=100, deadline=None)
@given(small_graphs(risks=RISKS), st.integers(1, 3))
def test_the_runner_up_is_the_best_without_one_of_the_chosen_regions(topology: Topology, copies: int) -> None:
    planner = Planner(topology)
    chosen = planner.choose("e", "g", copies)
    rival = planner.runner_up("e", "g", copies)
    assert planner.choose("e", "g", copies) is chosen
    if chosen.overlap:
        return
    used = {region for path in chosen.paths for region in path.regions}
    left = [
        brute_force(
            replace(topology, links=tuple(link for link in topology.links if gone not in (link.a, link.b))), copies
        )
        for gone in used
    ]
    costs = [cost for count, cost in left if count == len(chosen.paths)]
    assert rival.cost == min(costs, default=0)
    assert bool(rival.paths) == bool(costs)


def test_directions_have_costs_of_their_own() -> None:
    links = dict.fromkeys(product("eg", "abc"), 1.0)
    planner = Planner(graph(plain("abc"), links))
    planner.update(Costs(links={("e", "a"): 30.0}))
    assert [path.regions for path in planner.choose("e", "g", 2).paths] == [("b",), ("c",)]
    assert [path.regions for path in planner.choose("g", "e", 2).paths] == [("a",), ("b",)]


def test_measured_loss_in_common_parts_a_pair() -> None:
    links = {**dict.fromkeys(product("eg", "ab"), 10.0), **dict.fromkeys(product("eg", "c"), 12.0)}
    planner = Planner(graph(plain("abc"), links))
    assert [path.regions for path in planner.choose("e", "g", 2).paths] == [("a",), ("b",)]
    planner.update(Costs(pairs={("b", "a"): pair_cost(0.006)}))
    assert [path.regions for path in planner.choose("e", "g", 2).paths] == [("a",), ("c",)]
    planner.update(Costs(pairs={("a", "b"): 0.0}))
    assert [path.regions for path in planner.choose("e", "g", 2).paths] == [("a",), ("b",)]


def test_order_of_regions_and_links_does_not_change_the_choice() -> None:
    names = ["a", "b", "c", "d"]
    links = dict.fromkeys(product(("e", "g"), names), 1.0)
    one = graph(plain(names), links)
    other = graph(plain(reversed(names)), dict(reversed(links.items())))
    assert Planner(one).choose("e", "g", 2) == Planner(other).choose("e", "g", 2)


def test_cheapest_single_path_is_given_up_where_it_blocks_two() -> None:
    """The trap of greedy removal: e-a-b-g is cheapest, and without a and b nothing is left."""
    links = {("e", "a"): 1.0, ("a", "b"): 1.0, ("b", "g"): 1.0, ("a", "g"): 9.0, ("e", "b"): 9.0}
    planner = Planner(graph(plain("ab"), links))
    assert planner.choose("e", "g", 1).paths == (Path(("a", "b"), 3),)
    assert planner.choose("e", "g", 2).paths == (Path(("a",), 10), Path(("b",), 10))


def test_regions_of_one_provider_or_risk_group_are_not_combined() -> None:
    links = dict.fromkeys(product("eg", "ab"), 1.0) | dict.fromkeys(product("eg", "c"), 9.0)
    for topology in (
        graph({"a": {"telia"}, "b": {"telia"}, "c": set()}, links),
        graph(plain("abc"), links, provider={"a": "telia", "b": "telia", "c": "arelion"}),
        graph({"a": {"telia"}, "b": set(), "c": set()}, links, provider={"b": "telia"}),
    ):
        assert Planner(topology).choose("e", "g", 2).paths == (Path(("a",), 2), Path(("c",), 18))


def test_where_nothing_is_disjoint_the_least_overlap_is_chosen_and_named() -> None:
    links = {(end, name): cost for name, cost in zip("abc", (1.0, 2.0, 9.0), strict=True) for end in "eg"}
    topology = graph(
        {"a": {"cable"}, "b": set(), "c": {"cable"}}, links, provider={"a": "telia", "b": "telia", "c": "telia"}
    )
    chosen = Planner(topology).choose("e", "g", 2)
    assert [path.regions for path in chosen.paths] == [("a",), ("b",)]
    assert chosen.overlap == ("provider telia",)
    cables = graph({"a": {"cable"}, "b": {"cable"}, "c": {"cable"}}, links, provider={"a": "telia", "b": "telia"})
    chosen = Planner(cables).choose("e", "g", 2)
    assert [path.regions for path in chosen.paths] == [("a",), ("c",)]
    assert chosen.overlap == ("shared risk cable",)


@settings(max_examples=200, deadline=None)
@given(small_graphs(risks=("r", "s")), st.integers(2, 3))
def test_the_least_overlap_equals_brute_force(topology: Topology, copies: int) -> None:
    """Without nodes each region has room for one path, so only risks can be shared; all of them are plain groups."""
    paths = [(regions, cost) for regions, cost in every_path(topology)]

    def shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
        return len(occupied(topology, one) & occupied(topology, other))

    sets = [
        (sum(shared(p, q) for (p, _), (q, _) in combinations(chosen, 2)), sum(cost for _, cost in chosen))
        for chosen in combinations(paths, copies)
        if all(set(p).isdisjoint(q) for (p, _), (q, _) in combinations(chosen, 2))
    ]
    chosen = Planner(topology).choose("e", "g", copies)
    if sets:
        found = sum(shared(p.regions, q.regions) for p, q in combinations(chosen.paths, 2))
        assert (found, chosen.cost) == min(sets)
    else:
        assert len(chosen.paths) < copies


def test_no_path_is_longer_than_the_route_field() -> None:
    chain = ["a", "b", "c", "d", "f"]
    links = {("e", "a"): 1.0, ("f", "g"): 1.0, **dict.fromkeys(pairwise(chain), 1.0)}
    assert Planner(graph(plain(chain), links)).choose("e", "g", 1).paths == ()
    with_shortcut = graph(plain(chain), links | {("d", "g"): 50.0})
    assert Planner(with_shortcut).choose("e", "g", 1).paths == (Path(("a", "b", "c", "d"), 54),)


def test_regions_without_a_usable_node_are_not_crossed() -> None:
    planner = Planner(load(DEMO))

    def chosen(*without: str) -> list[tuple[str, ...]]:
        return [path.regions for path in planner.choose("edge-fra", "gw-sto", 2, without=frozenset(without)).paths]

    assert chosen() == [("mid-ams",), ("mid-par",)]
    assert chosen("mid-ams-1") == [("mid-par",), ("mid-lon",)]
    planner.update(Costs(links={("edge-fra", "mid-lon"): 1.0}))
    assert chosen("mid-ams-1") == [("mid-lon",), ("mid-par",)]


@pytest.mark.parametrize(("source", "destination"), [("dns", "gw-sto"), ("edge-fra", "mid-ams")])
def test_only_edges_and_gateways_have_paths(source: str, destination: str) -> None:
    assert Planner(load(DEMO)).choose(source, destination, 2).paths == ()


def test_costs_are_milliseconds() -> None:
    assert link_cost(14.0, 0.0) == 14.0
    assert link_cost(14.0, 0.01) == pytest.approx(24.05, abs=0.01)
    assert link_cost(0.0, 0.01) * 2 == pytest.approx(link_cost(0.0, 1 - 0.99**2))
    assert link_cost(1.0, 1.0) < 10_000
    assert region_cost(2.0, 0.0) == 2.0
    assert region_cost(0.0, 0.5) < region_cost(0.0, 0.9) < region_cost(0.0, 1.0) < 100
    assert pair_cost(1e-4) == pytest.approx(10)
