from __future__ import annotations

from pathlib import Path as File

import pytest

from tests.topology.reference import graph, plain
from topology.health import Health
from topology.held import Measure
from topology.paths import node_routes
from topology.planner import Planner
from topology.source import load, parse
from topology.why import why

DEMO = File(__file__).parents[2] / "lab" / "demo.yaml"


def test_routes_end_at_the_destination_and_skip_unusable_nodes() -> None:
    topology = load(DEMO)
    number = {name: node.number for name, node in topology.nodes.items()}
    found = node_routes(Planner(topology), "gw-sto-1", "edge-fra-1", 2, usable=lambda name: name != "mid-ams-1")
    assert [route.nodes for route in found.routes] == [
        (number["mid-par-1"], number["edge-fra-1"]),
        (number["mid-lon-1"], number["edge-fra-1"]),
    ]
    assert [route.cost for route in found.routes] == [25, 27]
    assert found.overlap == ()
    assert node_routes(Planner(topology), "gw-sto-1", "edge-fra-1", 2, usable=lambda _: False).routes == ()


def test_a_failing_node_moves_only_its_own_routes() -> None:
    planner = Planner(parse(wide(edges=24, middle=4), "wide.yaml"))
    nodes = planner.topology.nodes
    edges = [name for name in nodes if name.startswith("edge")]

    def through(usable: set[str]) -> dict[str, int]:
        return {
            edge: node_routes(planner, edge, "gw-1", 1, usable=lambda name: name in usable).routes[0].nodes[0]
            for edge in edges
        }

    all_nodes = {f"mid-{number}" for number in range(4)}
    before, after = through(all_nodes), through(all_nodes - {"mid-2"})
    lost = nodes["mid-2"].number
    assert len(set(before.values())) == 4
    assert {edge for edge in edges if before[edge] != after[edge]} == {edge for edge in edges if before[edge] == lost}


def test_a_loaded_node_gets_its_share_and_gives_up_only_its_own_routes() -> None:
    planner = Planner(parse(wide(edges=200, middle=2), "wide.yaml"))
    busy = planner.topology.nodes["mid-0"].number
    edges = [name for name in planner.topology.nodes if name.startswith("edge")]

    def through_busy(load: float) -> set[str]:
        health = Health(planner.topology, "edge-0")
        health.observe({}, {}, {"mid-0": load}, 0.0)
        routes = {
            edge: node_routes(planner, edge, "gw-1", 1, usable=lambda _: True, health=health).routes[0]
            for edge in edges
        }
        return {edge for edge, route in routes.items() if route.nodes[0] == busy}

    idle, half, full = through_busy(0.0), through_busy(0.5), through_busy(1.0)
    assert full < half < idle
    assert 80 <= len(idle) <= 120
    assert 47 <= len(half) <= 87  # a third
    assert len(full) <= 10


def test_paths_that_must_share_a_region_go_through_different_nodes() -> None:
    planner = Planner(parse(wide(edges=1, middle=3), "wide.yaml"))
    found = node_routes(planner, "edge-0", "gw-1", 2, usable=lambda _: True)
    assert found.overlap == ("region m",)
    assert len({route.nodes[0] for route in found.routes}) == 2
    alone = node_routes(planner, "edge-0", "gw-1", 2, usable=lambda name: name == "mid-1")
    assert [route.nodes[0] for route in alone.routes] == [planner.topology.nodes["mid-1"].number]
    assert alone.overlap == ()


LINKS = {("e", "a"): 1.0, ("a", "g"): 1.0, ("e", "b"): 2.0, ("b", "g"): 2.0, ("e", "c"): 4.0, ("c", "g"): 4.0}


@pytest.mark.parametrize(
    ("middle", "copies", "reason"),
    [
        (plain("abc"), 1, "cheapest path; runner-up via b +2 ms"),
        (plain("abc"), 2, "cheapest disjoint pair; runner-up via c +4 ms"),
        (plain("abc"), 3, "cheapest disjoint three; no other choice"),
        (plain("abc"), 4, "cheapest disjoint three; 4 asked for, there are no more; no other choice"),
        ({"a": {"x"}, "b": {"x"}, "c": set()}, 2, "cheapest disjoint pair; runner-up via b +2 ms"),
        ({"a": {"x"}, "b": {"x"}, "c": {"x"}}, 2, "least overlap: shares shared risk x; runner-up via c +4 ms"),
    ],
)
def test_the_reason_names_what_was_chosen_and_the_runner_up(
    middle: dict[str, set[str]], copies: int, reason: str
) -> None:
    assert why(Planner(graph(middle, LINKS)), "e", "g", copies) == reason


def test_without_a_path_the_reason_says_so() -> None:
    assert why(Planner(graph(plain("a"), {("e", "a"): 1.0})), "e", "g", 2) == "no path"


def test_of_a_region_with_several_nodes_a_bad_one_is_left_and_the_region_kept() -> None:
    planner = Planner(parse(wide(edges=8, middle=3), "wide.yaml"))
    health = Health(planner.topology, "edge-0")
    good = {(f"mid-{n}", "gw-1"): Measure(2.0, 0.0) for n in range(3)} | {("edge-0", "mid-0"): Measure(1.0, 0.0)}
    bad = good | {("mid-1", "gw-1"): Measure(2.0, 0.2)}

    def picked(edge: str) -> int:
        found = node_routes(planner, edge, "gw-1", 1, usable=lambda _: True, health=health, kept=(("m",),))
        assert found.routes[0].regions == ("m",)
        return found.routes[0].nodes[0]

    numbers = [planner.topology.nodes[f"mid-{n}"].number for n in range(3)]
    health.observe(good, {}, {}, 0.0)
    before = {f"edge-{n}": picked(f"edge-{n}") for n in range(8)}
    assert numbers[1] in before.values()
    for now in (1.0, 2.0):
        changed = health.observe(bad, {}, {}, now)
    # The region still costs what its good nodes cost.
    assert changed.links == {}
    after = {edge: picked(edge) for edge in before}
    assert numbers[1] not in after.values()
    assert all(after[edge] == node for edge, node in before.items() if node != numbers[1])


def wide(edges: int, middle: int) -> str:
    lines = ["braid: 1", "name: wide", "zone: {name: apps.example}", "regions:"]
    lines += ["  e: {role: edge}", "  m: {role: intermediate}", "  g: {role: gateway}", "nodes:"]
    lines += [
        f"  edge-{n}: {{region: e, underlay: [192.0.2.{n + 1}], vip_pools: [10.1.{n}.0/28]}}" for n in range(edges)
    ]
    lines += [f"  mid-{n}: {{region: m, underlay: [198.51.100.{n + 1}]}}" for n in range(middle)]
    lines += ["  gw-1: {region: g, underlay: [203.0.113.1], snat_pools: [10.2.0.0/30]}"]
    return "\n".join(lines)
