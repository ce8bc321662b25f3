"""From reports to standings: drained edges, too few paths, load, and a DNS node that is cut off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from braid.messages import ApplicationReport, EdgeMeasures, EdgeReport
from dns.drain import DrainFollower, drain_file, read_drained, write_drained
from dns.health import HealthTable
from dns.policy import Standing
from dns.watch import Watch
from tests.dns.zone import ANY, CONFIG, FRA, NYC, report

if TYPE_CHECKING:
    from pathlib import Path

UP, HOLDING, DEGRADED, FULL, DRAINING, DOWN = Standing
EDGES = (FRA, NYC, ANY)
TWO_PATHS = replace(CONFIG, copies={"shop": 2})
NOBODY: frozenset[str] = frozenset()


class Scene:
    def __init__(self) -> None:
        self.health = HealthTable()
        self.watch = Watch()
        self.now = 0.0
        self.sequence = 0
        self.drained = NOBODY

    def run(self, seconds: float, *speaking: int, usable: int = 2, spill: int = 0) -> list[Standing]:
        """Lets time pass with reports every half second; returns the standings for shop."""
        for _ in range(round(seconds / 0.5)):
            self.now += 0.5
            self.sequence += 1
            for edge in speaking:
                said = EdgeReport(self.sequence, True, False, (ApplicationReport("shop", usable, 0),))
                self.health.receive_report(edge, said, self.now)
                self.health.receive_measures(edge, EdgeMeasures(self.sequence, spill, ()), self.now)
            self.look()
        return self.look()

    def look(self) -> list[Standing]:
        found = self.watch.standings(TWO_PATHS, self.health, self.drained, self.now)
        return [found[edge, "shop"] for edge in range(3)]


def test_before_anybody_has_spoken_all_are_up() -> None:
    assert Scene().run(60) == [UP, UP, UP]


def test_an_edge_without_two_disjoint_paths_is_degraded() -> None:
    scene = Scene()
    assert scene.run(5, *EDGES) == [UP, UP, UP]
    scene.run(5, *EDGES, usable=1)
    assert scene.look() == [DEGRADED] * 3
    assert scene.run(1, *EDGES) == [HOLDING] * 3
    assert scene.run(10, *EDGES) == [UP] * 3


def test_an_edge_that_is_full() -> None:
    scene = Scene()
    scene.run(5, *EDGES)
    assert scene.run(5, *EDGES, spill=255) == [FULL] * 3
    assert scene.run(15, *EDGES, spill=254) == [UP] * 3, "a share of the clients is not a standing"


def test_a_drained_edge_drains_at_once_and_comes_back_at_once() -> None:
    scene = Scene()
    scene.run(5, *EDGES)
    scene.drained = frozenset({"edge-nyc-1", "edge-unknown"})
    assert scene.look() == [UP, DRAINING, UP]
    scene.drained = NOBODY
    assert scene.look() == [UP, UP, UP]
    scene.drained = frozenset({"edge-any-1"})
    assert scene.run(5, FRA, NYC) == [UP, UP, DOWN], "down is worse"


def test_one_that_falls_silent_is_down() -> None:
    scene = Scene()
    scene.run(5, *EDGES)
    assert scene.run(3.5, FRA, NYC) == [UP, UP, DOWN]
    assert scene.watch.stale_since is None


def test_cut_off_from_all_the_last_view_stays_for_as_long_as_it_takes() -> None:
    scene = Scene()
    scene.run(20, FRA, NYC)
    assert scene.look() == [UP, UP, DOWN]
    scene.run(0.5, NYC)
    assert scene.run(6) == [UP, UP, DOWN]
    assert scene.watch.stale_since is not None
    assert scene.run(600) == [UP, UP, DOWN]
    scene.drained = frozenset({"edge-fra-1"})
    assert scene.look() == [DRAINING, UP, DOWN], "the operator is still obeyed"
    scene.drained = NOBODY
    assert scene.run(1, NYC) == [UP, UP, DOWN], "the first one is heard again"
    assert scene.watch.stale_since is None
    assert scene.run(5, NYC) == [DOWN, UP, DOWN], "the other one is not"
    assert scene.run(15, FRA, NYC) == [UP, UP, DOWN]


def test_sessions_that_break_all_at_once_are_a_cut_too() -> None:
    scene = Scene()
    scene.run(20, *EDGES)
    for edge in EDGES:
        scene.health.neighbour_down(edge)
    scene.now += 1.6
    assert scene.look() == [UP, UP, UP]
    assert scene.watch.stale_since == scene.now


def test_edges_that_say_they_are_down_are_believed() -> None:
    scene = Scene()
    scene.run(5, *EDGES)
    for edge in EDGES:
        scene.health.receive_report(edge, report(1000, ready=False), scene.now)
    assert scene.look() == [DOWN] * 3
    assert scene.watch.stale_since is None


def test_a_reload_takes_standings_along_by_name() -> None:
    scene = Scene()
    scene.run(5, *EDGES)
    scene.run(3.5, FRA, NYC)
    swapped = replace(
        TWO_PATHS,
        edges=tuple(TWO_PATHS.edges[n] for n in (2, 0, 1)),
        vips={((n + 1) % 3, name): vip for (n, name), vip in TWO_PATHS.vips.items()},
    )
    found = scene.watch.standings(swapped, scene.health, NOBODY, scene.now)
    assert [found[edge, "shop"] for edge in range(3)] == [DOWN, UP, UP]


def test_the_file_of_drained_edges(tmp_path: Path) -> None:
    file = drain_file(tmp_path / "net.yaml")
    assert file.name == "net.yaml.drained"
    follower = DrainFollower(file)
    assert follower.names() == read_drained(file) == frozenset()
    write_drained(file, ["edge-b", "edge-a"])
    assert follower.names() == read_drained(file) == {"edge-a", "edge-b"}
    file.write_text("edge-c # by hand\n\n")
    assert follower.names() == {"edge-c"}
    write_drained(file, [])
    assert follower.names() == frozenset()
    write_drained(file, ["edge-a"])
    assert follower.names() == {"edge-a"}
    file.unlink()
    assert follower.names() == frozenset()
    assert DrainFollower(None).names() == frozenset()


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml.drained"
    write_drained(file, ["edge-a"])
    follower = DrainFollower(file)
    assert follower.names() == {"edge-a"}
    file.unlink()
    file.mkdir()
    assert follower.names() == {"edge-a"}
