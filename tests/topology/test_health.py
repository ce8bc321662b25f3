from __future__ import annotations

from itertools import pairwise
from pathlib import Path as File
from random import Random

import pytest

from topology.costs import Costs
from topology.health import Health, one_way
from topology.held import Measure
from topology.paths import node_routes
from topology.planner import Planner
from topology.source import load

TOPOLOGY = load(File(__file__).parents[2] / "lab" / "demo.yaml")
EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
MIDDLE = ("mid-ams-1", "mid-lon-1", "mid-par-1")
LINKS = {(EDGE, "mid-ams-1"): 6.0, (EDGE, "mid-lon-1"): 12.0, (EDGE, "mid-par-1"): 9.0,
         ("mid-ams-1", GATEWAY): 11.0, ("mid-lon-1", GATEWAY): 15.0, ("mid-par-1", GATEWAY): 16.0}  # fmt: skip


class World:
    """One edge that looks twice a second at links and paths, and keeps what it uses where nothing better is clear."""

    def __init__(self) -> None:
        self.planner = Planner(TOPOLOGY)
        self.health = Health(TOPOLOGY, EDGE)
        self.now = 0.0
        self.kept: tuple[tuple[str, ...], ...] = ()
        self.switches = 0
        self.plan()

    def plan(self) -> None:
        found = node_routes(self.planner, EDGE, GATEWAY, 2, usable=lambda _: True, health=self.health, kept=self.kept)
        regions = tuple(sorted(route.regions for route in found.routes))
        self.switches += bool(self.kept) and regions != self.kept
        self.kept = regions

    def look(self, links: dict[tuple[str, str], Measure], paths: dict[tuple[str, ...], Measure] | None = None) -> Costs:
        self.now += 0.5
        changed = self.health.observe(links, paths or {}, {}, self.now)
        if changed != Costs():
            self.planner.update(changed)
            self.plan()
        return changed

    @property
    def used(self) -> set[str]:
        return {region for regions in self.kept for region in regions}


def measured(**more: float) -> dict[tuple[str, str], Measure]:
    """All links as declared; by the name of an intermediate, what its link to the gateway takes longer."""
    return {
        (a, b): Measure(delay + (more.get(a.split("-")[1], 0.0) if b == GATEWAY else 0.0), 0.0)
        for (a, b), delay in LINKS.items()
    }


def test_what_is_as_declared_or_better_changes_nothing() -> None:
    world = World()
    assert world.used == {"mid-ams", "mid-par"}
    for factor in (1.0, 0.1, 0.9):
        links = {pair: Measure(factor * delay, 0.004) for pair, delay in LINKS.items()}
        assert world.look(links) == Costs()


def test_30_ms_more_or_10_percent_of_loss_move_the_path_at_the_second_look_and_it_comes_back_calmly() -> None:
    bad = {("mid-ams-1", GATEWAY): Measure(11.0, 0.1)}
    for links in (measured(ams=30.0), measured() | bad):
        world = World()
        world.look(measured())
        world.look(links)
        assert world.used == {"mid-ams", "mid-par"}
        world.look(links)
        assert world.used == {"mid-lon", "mid-par"}
        for _ in range(60):
            world.look(measured())
        assert world.used == {"mid-lon", "mid-par"}
        world.look(measured())
        assert world.used == {"mid-ams", "mid-par"}
        assert world.switches == 2


def test_a_single_lost_probe_is_no_loss() -> None:
    world = World()
    fading = [0.02 * 0.98 ** (5 * look) for look in range(100)]
    for loss in fading:
        world.look(measured() | {("mid-ams-1", GATEWAY): Measure(11.0, loss)})
    assert world.switches == 0


def test_noise_of_20_percent_on_all_links_moves_nothing_for_an_hour() -> None:
    switches = []
    for seed in range(3):
        rng, world = Random(seed), World()
        for _ in range(7200):
            world.look({
                pair: Measure(3 * delay * rng.uniform(0.8, 1.2), 0.0) for pair, delay in LINKS.items()
            })  # fmt: skip
        switches.append(world.switches)
    # What the first looks happened to see may be corrected once.
    assert max(switches) <= 1


def test_each_direction_has_its_own_cost() -> None:
    health = Health(TOPOLOGY, GATEWAY)
    links = {("mid-ams-1", GATEWAY): Measure(50.0, 0.5), (GATEWAY, "mid-ams-1"): Measure(11.0, 0.0)}
    changed = health.observe(links, {}, {}, 0.0)
    assert changed.links == {("mid-ams", "gw-sto"): 50.0}


def test_one_way_delays_of_paths_follow_from_their_round_trips() -> None:
    links = {pair: Measure(delay) for pair, delay in LINKS.items()}.__getitem__
    ams, par = (EDGE, "mid-ams-1", GATEWAY), (EDGE, "mid-par-1", GATEWAY)
    # 20 ms back; and on par 15 ms more, one way.
    found = one_way({ams: Measure(17.0 + 20.0), par: Measure(25.0 + 15.0 + 20.0, 0.1)}, links)
    assert found == {ams: Measure(17.0), par: Measure(40.0, 0.1)}
    assert one_way({ams: Measure(37.0)}, lambda _: Measure()) == {ams: Measure(None)}


def test_what_only_whole_paths_show_is_charged_where_no_clean_path_goes() -> None:
    world = World()
    bad = {(EDGE, "mid-ams-1", GATEWAY): Measure(37.0, 0.2), (EDGE, "mid-par-1", GATEWAY): Measure(45.0, 0.0)}
    world.look(measured(), bad)
    changed = world.look(measured(), bad)
    assert changed.links.keys() == {("mid-ams", "gw-sto")}
    assert changed.links["mid-ams", "gw-sto"] == pytest.approx(11 + 223, abs=1)
    assert world.used == {"mid-lon", "mid-par"}
    # When the links say the same themselves, it counts once.
    told = measured() | {("mid-ams-1", GATEWAY): Measure(11.0, 0.2)}
    for _ in range(2):
        world.look(told, bad)
    assert world.health.node_cost("mid-ams-1", GATEWAY) == pytest.approx(234, abs=1)


def test_a_path_that_is_not_measured_any_more_keeps_its_bad_name_for_the_longest_hold() -> None:
    world = World()
    bad = {(EDGE, "mid-ams-1", GATEWAY): Measure(37.0, 0.2)}
    for _ in range(2):
        world.look(measured(), bad)
    assert world.used == {"mid-lon", "mid-par"}
    for _ in range(2 * int(TOPOLOGY.health.longest_hold)):
        world.look(measured())
    assert world.used == {"mid-lon", "mid-par"}
    for _ in range(3):
        world.look(measured())
    assert world.used == {"mid-ams", "mid-par"}


def test_load_costs_and_what_it_costs_stands_still() -> None:
    health = Health(TOPOLOGY, EDGE)
    assert health.observe({}, {}, {"mid-ams-1": 0.1}, 0.0) == Costs()
    changed = health.observe({}, {}, {"mid-ams-1": 0.9}, 1.0)
    assert changed.regions == {"mid-ams": pytest.approx(9.0)}
    for second in range(2, 31):
        assert health.observe({}, {}, {"mid-ams-1": 0.75 + second % 2 / 10}, float(second)) == Costs()


def test_names_that_are_no_links_are_passed_over() -> None:
    health = Health(TOPOLOGY, EDGE)
    strange = {(a, b): Measure(500.0) for a, b in pairwise((EDGE, GATEWAY, "nobody", "dns-1", EDGE))}
    assert health.observe(strange, {(EDGE, "nobody", GATEWAY): Measure(1.0, 0.5)}, {}, 0.0) == Costs()
