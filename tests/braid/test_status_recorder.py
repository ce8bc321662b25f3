"""What a node remembers of its snapshots: changes with their cause, since-when, one word when protection changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from braid.status.build import node_status
from braid.status.changes import KEPT, Change, ChangeLog, Kind, Tone, clock
from braid.status.protection import HOLD, sentence, towards
from braid.status.recorder import Recorder
from braid.status.snapshot import Check
from tests.braid.fake_node import edge_core, edge_status, facts, gateway_status, small_topology

if TYPE_CHECKING:
    from braid.status.paths import PathStatus
    from braid.status.snapshot import NodeStatus

WALL = 1_700_000_000.0


class Edge:
    """A recorder fed by an edge whose core a test changes."""

    def __init__(self) -> None:
        self.core = edge_core()
        for neighbour in self.core["neighbours"]:
            neighbour |= {"up": True, "heard_ms_ago": 20}
        for path in self.core["paths"]:
            path |= {"in_use": True, "arrives": True}
        self.core["neighbours"].append(self.core["neighbours"][0] | {"node": 23})
        self.facts: dict[str, Any] = {}
        self.recorder = Recorder()
        self.now = 1000.0
        self.told: list[Change] = []
        self.second(6)
        self.changes_at_start = self.texts()
        self.recorder.changes = ChangeLog()

    def second(self, count: int = 1) -> NodeStatus:
        topology = small_topology()
        for _ in range(count):
            self.now += 1
            status = node_status(topology, topology.nodes["edge-fra-1"], self.core, facts(**self.facts))
            self.told += self.recorder.receive_snapshot(status, self.now, WALL + self.now)
        return self.recorder.annotate(status)

    def texts(self) -> list[str]:
        return [f"{change.text}: {change.cause}" for change in self.recorder.changes.last()]


def lon(status: NodeStatus) -> PathStatus:
    return status.paths[1]


def test_a_path_in_trouble_says_so_until_it_has_been_well_for_a_while() -> None:
    edge = Edge()
    path = edge.core["paths"][1]
    path |= {"rtt_us": 20_000, "loss": 0.0}
    edge.second(3)
    path |= {"rtt_us": 120_000, "loss": 0.2}
    assert lon(edge.second()).trouble == "loses 20 % of its copies; 120 ms instead of 20 ms"
    assert "is in trouble: loses 20 %" in edge.texts()[0]
    path |= {"rtt_us": 20_000, "loss": 0.0}
    assert lon(edge.second(29)).trouble
    assert lon(edge.second(3)).trouble == ""
    assert "is well again" in edge.texts()[0]
    assert [change for change in edge.told if "trouble" in change.text] == []


def test_a_path_without_an_intermediate_is_called_direct() -> None:
    path = edge_status().paths[0]
    assert towards(path) == "gw-sto-1 via mid-ams"
    assert towards(replace(path, regions=())) == "gw-sto-1 (direct)"


def test_a_path_that_carries_less_says_how_much_and_since_when() -> None:
    edge = Edge()
    edge.core["mtu"] = 1420
    path = edge.core["paths"][1]
    path |= {"mtu": 1420, "mtu_state": "complete", "mtu_ms_ago": 5000}
    assert lon(edge.second()).trouble == ""
    path |= {"mtu": 1337, "mtu_state": "searching", "mtu_ms_ago": 0}
    shown = lon(edge.second())
    assert (shown.mtu, shown.mtu_state) == (1337, "searching")
    assert shown.trouble == f"carries only 1337 bytes since {clock(facts().now)}"
    assert f"is in trouble: {shown.trouble}" in edge.texts()[0]
    path |= {"mtu": 1300, "mtu_state": "complete"}
    edge.second()
    assert edge.texts()[0] == "path to gw-sto-1 via mid-lon carries 1300 bytes: found by probes; 1337 bytes before"
    edge.second()
    assert "is in trouble" in edge.texts()[1]
    path |= {"mtu": 1280, "mtu_state": "error"}
    assert "carries only packets below 1280 bytes" in lon(edge.second()).trouble
    path |= {"mtu": 1420, "mtu_state": "complete"}
    assert lon(edge.second()).trouble == ""
    assert "is well again" in edge.texts()[0]


def test_a_silent_path_is_named_with_since_when_in_status_log_and_changes() -> None:
    edge = Edge()
    edge.second(3)
    assert edge.told == []
    edge.core["paths"][1]["arrives"] = False
    status = edge.second()
    at = edge.now + WALL
    (shop,) = status.applications
    assert sentence(shop) == f"protected by 1 of 2: path via mid-lon is silent since {clock(at)}"
    assert (shop.since, lon(status).since, lon(status).silent) == (at, at, True)
    assert [(c.kind, c.tone, c.text) for c in edge.told] == [
        (Kind.PROTECTION, Tone.BAD, "shop is protected by 1 of 2"),
    ]
    edge.second(30)
    assert len(edge.told) == 1
    assert edge.texts() == [
        f"shop is protected by 1 of 2: path via mid-lon is silent since {clock(at)}",
        "path to gw-sto-1 via mid-lon is silent: gw-sto-1 hears nothing on this path",
    ]


def test_restored_protection_is_told_once_it_has_held() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["paths"][1]["arrives"] = False
    edge.second(10)
    edge.core["paths"][1]["arrives"] = True
    edge.second(3)
    assert len(edge.told) == 1
    edge.second(int(HOLD))
    assert [change.text for change in edge.told] == ["shop is protected by 1 of 2", "shop is protected by 2 of 2 again"]
    (shop,) = edge.second().applications
    assert shop.cause == ""


def test_a_path_that_flaps_each_second_is_one_reduction() -> None:
    edge = Edge()
    edge.second(3)
    for second in range(60):
        edge.core["paths"][1]["arrives"] = second % 2 == 1
        edge.second()
    assert [change.text for change in edge.told] == ["shop is protected by 1 of 2"]


def test_a_path_that_just_came_into_use_is_given_time() -> None:
    edge = Edge()
    edge.core["paths"].append(edge.core["paths"][1] | {"id": 2, "in_use": True, "route": [23, 31]})
    edge.core["paths"][1]["in_use"] = False
    edge.second(3)
    edge.core["paths"][1] |= {"in_use": True, "arrives": False}
    edge.core["paths"][2] |= {"in_use": False}
    status = edge.second()
    assert (lon(status).up, lon(status).silent) == (False, False)
    assert edge.told == []
    status = edge.second(3)
    assert lon(status).silent
    assert len(edge.told) == 1


def test_a_node_that_starts_is_not_told_off_for_what_it_cannot_have() -> None:
    edge, late = Edge(), Edge()
    sessions = edge.core["sessions"]
    for each in (edge, late):
        each.recorder = Recorder()
        each.core["sessions"] = []
        each.second(3)
    edge.core["sessions"] = sessions
    edge.second(10)
    assert edge.told == []
    late.second(20)
    assert [change.text for change in late.told] == ["shop is protected by 0 of 2"]


def test_a_broken_path_that_was_replaced_keeps_its_reason() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["paths"][1]["arrives"] = False
    edge.second(1)
    edge.core["paths"][1]["in_use"] = False
    edge.core["paths"].append({"peer": 31, "id": 2, "route": [23, 31], "in_use": True, "arrives": True})
    status = edge.second(3)
    assert lon(status).detail == "avoided: gw-sto-1 hears nothing on this path"
    assert edge.texts()[0] == "paths to gw-sto-1: #23 in, mid-lon out: gw-sto-1 hears nothing on this path"


def test_a_block_in_one_direction_is_told_from_silence() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["paths"][1]["arrives"] = False
    edge.core["received"][2]["first"] += 50
    status = edge.second()
    assert lon(status).detail == "one-way block: we hear gw-sto-1 through mid-lon-1, it does not hear us"


def test_neighbours_come_and_go_with_cause_and_duration() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["neighbours"][1] |= {"up": False, "heard_ms_ago": 1200}
    status = edge.second()
    assert status.neighbours[1].since == WALL + edge.now
    edge.second(9)
    edge.core["neighbours"][1] |= {"up": True, "heard_ms_ago": 10}
    edge.second()
    texts = edge.texts()
    assert "neighbour mid-lon-1 is down: nothing heard for 1.2 s" in texts
    assert "neighbour mid-lon-1 is up: was down for 10 s" in texts
    assert edge.second().change_counts == {"neighbour/bad": 1, "neighbour/good": 1, "path/bad": 1, "path/good": 1,
                                     "protection/bad": 1}  # fmt: skip


def test_gateway_target_topology_and_readiness() -> None:
    edge = Edge()
    edge.second(2)
    edge.core["sessions"] = []
    edge.facts = {"revision": "new", "reload_error": "x.yaml: bad", "checks": (Check("gateway", False, "none"),)}
    edge.second()
    assert {change.kind for change in edge.recorder.changes.last()} >= {Kind.GATEWAY, Kind.TOPOLOGY, Kind.NODE}
    assert "shop: new flows go to no gateway, before to gw-sto-1: no usable session with gw-sto-1" in edge.texts()
    assert "the newest topology file was refused: x.yaml: bad" in edge.texts()
    assert "edge-fra-1 is not ready: gateway: none" in edge.texts()
    recorder, status = Recorder(), gateway_status()
    for second in range(7):
        recorder.receive_snapshot(status, second, WALL)
    recorder.changes = ChangeLog()
    (shop,) = status.applications
    targets = (replace(shop.targets[0], healthy=False, detail="refused"), *shop.targets[1:])
    recorder.receive_snapshot(replace(status, applications=(replace(shop, targets=targets),)), 9, WALL + 1)
    assert [change.text for change in recorder.changes.last()] == ["shop: target 10.93.0.10 is failing"]


def test_rates_and_round_trips_go_into_the_history() -> None:
    edge = Edge()
    edge.second(2)
    edge.core["paths"][0]["copies_sent"] += 500
    edge.core["neighbours"][0]["rtt_us"] = 7000
    edge.second()
    history = edge.recorder.history
    path = history.seconds(("edge-fra-1", "path", "gw-sto-1 via mid-ams-1"), edge.now, 2).values
    assert path["sent_per_s"] == [0, 500]
    assert "rtt_ms" not in path
    assert history.seconds(("edge-fra-1", "neighbour", "mid-ams-1"), edge.now, 2).values["rtt_ms"] == [12.25, 7]
    edge.core["paths"][0]["copies_sent"] = 3
    edge.second()
    path = history.seconds(("edge-fra-1", "path", "gw-sto-1 via mid-ams-1"), edge.now, 2).values
    assert path["sent_per_s"] == [500, None]


def test_a_start_is_one_change() -> None:
    assert Edge().changes_at_start == ["edge-fra-1 started: "]


def test_what_fails_soon_after_the_start_is_told() -> None:
    edge = Edge()
    edge.recorder = Recorder()
    edge.second(2)
    edge.core["neighbours"][1] |= {"up": False, "heard_ms_ago": 1100}
    edge.second()
    assert "neighbour mid-lon-1 is down: nothing heard for 1.1 s" in edge.texts()


def test_the_log_of_changes_keeps_the_last_ones_and_counts_all() -> None:
    log = ChangeLog()
    log.add(Change(float(number), Kind.NEIGHBOUR, Tone.BAD, "m", str(number)) for number in range(KEPT + 50))
    assert len(log.last()) == KEPT
    assert log.last()[0].text == str(KEPT + 49)
    assert log.counts[Kind.NEIGHBOUR, Tone.BAD] == KEPT + 50


def test_the_share_of_first_copies_is_that_of_the_last_minute() -> None:
    edge = Edge()
    assert [item.first_share for item in edge.second().received] == [None, None, None]
    edge.core["received"][0]["first"] += 300
    edge.core["received"][2]["first"] += 100
    assert [item.first_share for item in edge.second(5).received] == [0.75, 0, 0.25]
    edge.second(90)
    assert [item.first_share for item in edge.second().received] == [None, None, None]


def test_a_path_that_was_replaced_between_two_looks_is_named_all_the_same() -> None:
    """The planner goes round a broken path faster than the recorder looks."""
    edge = Edge()
    edge.second(3)
    edge.core["paths"][1] |= {"in_use": False, "arrives": False}
    edge.core["paths"].append({"peer": 31, "id": 2, "route": [23, 31], "in_use": True, "arrives": True})
    edge.facts = {"avoided": {31: frozenset({22})}}
    status = edge.second()
    assert (lon(status).silent, lon(status).detail) == (True, "avoided: gw-sto-1 hears nothing on this path")
    assert "path to gw-sto-1 via mid-lon is silent: avoided: gw-sto-1 hears nothing on this path" not in edge.texts()
    assert "path to gw-sto-1 via mid-lon is silent: gw-sto-1 hears nothing on this path" in edge.texts()
    since = lon(status).since
    edge.facts = {}
    assert lon(edge.second(30)).since == since


def test_a_path_over_a_dead_neighbour_is_silent_until_the_neighbour_is_back() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["neighbours"][1] |= {"up": False, "heard_ms_ago": 1100}
    edge.core["paths"][1]["in_use"] = False
    status = edge.second()
    assert (lon(status).silent, lon(status).detail) == (True, "avoided: neighbour mid-lon-1 is down")
    edge.core["neighbours"][1] |= {"up": True}
    assert not lon(edge.second()).silent


def test_a_path_that_another_is_preferred_to_is_not_silent() -> None:
    edge = Edge()
    edge.second(3)
    edge.core["paths"][1] |= {"in_use": False, "arrives": False}
    assert not lon(edge.second(3)).silent
