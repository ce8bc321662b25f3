"""From the core's counters to what a node shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.status.build import flow_statuses, joined, node_status, protection
from braid.status.flow import FlowStatus, NatStatus
from braid.status.kernel import OffloadStatus
from braid.status.merge import merge
from braid.status.snapshot import Check, Recovery, RelayStatus
from tests.braid.fake_node import (
    FLOWS,
    edge_core,
    edge_status,
    facts,
    gateway_core,
    gateway_status,
    measured,
    small_topology,
)
from topology.policy import FixedCopies


def test_who_the_node_is() -> None:
    status = edge_status()
    assert (status.name, status.number, status.role, status.region, status.place) == (
        "edge-fra-1", 11, "edge", "edge-fra", "Frankfurt",
    )  # fmt: skip
    assert status.uptime_s == 90
    assert (status.topology.name, status.topology.revision) == ("small", "9f2c51d07ab3")
    assert status.topology.reload_error is None
    assert edge_status(reload_error="x.yaml: nodes: gone").topology.reload_error == "x.yaml: nodes: gone"


def test_ready_only_when_every_check_is_ok() -> None:
    assert edge_status().ready
    assert not edge_status(checks=(Check("tun", True), Check("sessions", False, "none"))).ready


def test_uptime_is_never_negative_when_the_clock_steps_back() -> None:
    assert edge_status(now=1.0).uptime_s == 0


def test_each_shard_has_its_counters() -> None:
    topology = small_topology()
    core = merge([edge_core(), edge_core() | {"last_turn_ms": 7}])
    one, two = node_status(topology, topology.nodes["edge-fra-1"], core, facts()).shards
    assert (one.index, one.last_turn_ms, two.index, two.last_turn_ms) == (0, 0, 1, 7)
    assert (two.tun_rx_packets, two.udp_rx_datagrams, two.dropped, two.handed_over) == (1000, 1990, 15, 0)


def test_neighbours_have_names_and_milliseconds() -> None:
    up, down = edge_status().neighbours
    assert (up.node, up.region, up.rtt_ms, up.up) == ("mid-ams-1", "mid-ams", 12.25, True)
    assert (down.node, down.address, down.rtt_ms, down.heard_ms_ago, down.up) == ("mid-lon-1", None, None, None, False)


def test_sessions_carry_the_recovery_counters() -> None:
    hop, end = edge_status().sessions
    assert hop.recovery is None
    assert hop.adjacent
    assert end.recovery == Recovery(990, 985, 4, 1, 2, 0, 1, 0)


def test_paths_name_their_regions_and_what_came_through_their_first_hop() -> None:
    ams, lon = edge_status().paths
    assert (ams.peer, ams.route, ams.regions) == ("gw-sto-1", ("mid-ams-1", "gw-sto-1"), ("mid-ams",))
    assert (ams.kept, ams.eliminated) == (701, 287)
    assert (lon.kept, lon.eliminated, lon.unsent) == (290, 700, 5)


def test_a_path_is_down_with_its_first_hop_or_without_a_session() -> None:
    ams, lon = edge_status().paths
    assert ams.up
    assert not lon.up
    assert lon.detail == "neighbour mid-lon-1 is down"
    topology = small_topology()
    core = edge_core() | {"sessions": []}
    paths = node_status(topology, topology.nodes["edge-fra-1"], core, facts()).paths
    assert [path.detail for path in paths] == ["no session with gw-sto-1", "neighbour mid-lon-1 is down"]


def test_a_path_that_the_peer_does_not_hear_is_down_behind_a_live_first_hop() -> None:
    topology = small_topology()
    core = edge_core()
    entries = [entry | {"arrives": False} for entry in core["paths"]]
    ams = node_status(topology, topology.nodes["edge-fra-1"], core | {"paths": entries}, facts()).paths[0]
    assert (ams.up, ams.detail) == (False, "gw-sto-1 hears nothing on this path")
    unused = [entry | {"in_use": False} for entry in entries]
    assert node_status(topology, topology.nodes["edge-fra-1"], core | {"paths": unused}, facts()).paths[0].up


def test_measured_health_of_the_whole_path_wins_over_the_first_hop() -> None:
    ams, lon = edge_status(path_health={(31, 0): measured(False), (31, 1): measured(True)}).paths
    assert (ams.up, ams.rtt_ms, ams.detail) == (False, None, "no probe answered for 2 s")
    assert (lon.up, lon.rtt_ms) == (True, 31.5)


def test_an_application_at_an_edge() -> None:
    (shop,) = edge_status().applications
    assert shop.vips == ("10.91.1.130", "fd91:1::1:1")
    assert (shop.gateway, shop.copies_usable, shop.copies_wanted) == ("gw-sto-1", 1, 2)
    assert shop.protection == "reduced 1 of 2"
    both = edge_status(path_health={(31, 0): measured(True), (31, 1): measured(True)}).applications[0]
    assert both.protection == "protected 2 of 2"
    none = edge_status(path_health={(31, 0): measured(False), (31, 1): measured(False)}).applications[0]
    assert (none.gateway, none.protection) == (None, "down 0 of 2")


def test_an_application_at_a_gateway() -> None:
    status = gateway_status()
    (shop,) = status.applications
    assert shop.flows == 4
    assert [target.healthy for target in shop.targets] == [True, False]
    assert status.nat == NatStatus(4, 9, 5, 1, 2)


def test_only_gateways_have_nat_and_the_other_roles_no_applications() -> None:
    topology = small_topology()
    middle = node_status(topology, topology.nodes["mid-ams-1"], {}, facts())
    assert middle.nat is None
    assert middle.applications == ()
    assert edge_status().nat is None


def test_an_empty_report_of_the_core_is_an_empty_status() -> None:
    topology = small_topology()
    status = node_status(topology, topology.nodes["edge-fra-1"], {}, facts())
    assert status.paths == status.neighbours == status.sessions == ()
    assert status.offload == OffloadStatus()
    assert status.applications[0].protection == "down 0 of 2"


def test_a_number_that_left_the_topology_keeps_its_number() -> None:
    core = edge_core()
    core["neighbours"][0]["node"] = 77
    topology = small_topology()
    assert node_status(topology, topology.nodes["edge-fra-1"], core, facts()).neighbours[0].node == "#77"


def test_flows_have_names() -> None:
    first, second = flow_statuses(small_topology(), FLOWS)
    assert (first.application, first.edge, first.protocol, first.idle_s) == ("shop", "edge-fra-1", "tcp", 0.5)
    assert (second.application, second.edge, second.protocol) == ("#7", "#99", "99")
    assert flow_statuses(small_topology(), FLOWS[:1], ("renamed",))[0].application == "renamed"


@pytest.mark.parametrize(
    ("usable", "wanted", "text"),
    [(0, 2, "down 0 of 2"), (1, 2, "reduced 1 of 2"), (2, 2, "protected 2 of 2"), (3, 2, "protected 2 of 2"),
     (1, 1, "protected 1 of 1"), (0, 1, "down 0 of 1")],
)  # fmt: skip
def test_protection_in_words(usable: int, wanted: int, text: str) -> None:
    assert protection(usable, wanted) == text


@given(st.lists(st.booleans(), min_size=2, max_size=2), st.integers(1, 4))
def test_usable_copies_are_the_paths_that_are_up(ups: list[bool], copies: int) -> None:
    topology = small_topology()
    shop = replace(topology.applications["shop"], redundancy=FixedCopies(copies))
    topology = replace(topology, applications={"shop": shop})
    health = {(31, index): measured(up) for index, up in enumerate(ups)}
    status = node_status(topology, topology.nodes["edge-fra-1"], edge_core(), facts(path_health=health))
    application = status.applications[0]
    assert application.copies_usable == min(sum(ups), copies)
    assert application.protection.startswith("down") == (not any(ups))


def test_a_path_that_is_not_in_use_protects_nothing() -> None:
    core = edge_core()
    core["paths"][1]["in_use"] = False
    topology = small_topology()
    health = {(31, 0): measured(True), (31, 1): measured(True)}
    status = node_status(topology, topology.nodes["edge-fra-1"], core, facts(path_health=health))
    assert [path.in_use for path in status.paths] == [True, False]
    assert status.applications[0].protection == "reduced 1 of 2"


def test_an_intermediate_counts_what_it_forwards() -> None:
    topology = small_topology()
    core = {"relay": {"forwarded": 5, "streams": 2}}
    middle = node_status(topology, topology.nodes["mid-ams-1"], core, facts())
    assert middle.relay == RelayStatus(5, 2)
    assert edge_status().relay is None


def test_skew_and_order_of_a_session() -> None:
    end = edge_status().sessions[1]
    assert (end.skew_ms, end.given_up, end.late) == (5.5, 1, 2)


def test_connections_that_wait_in_the_data_plane_are_open_ones_of_their_application() -> None:
    topology = small_topology()
    (shop,) = gateway_status().proxies
    core = gateway_core() | {"fast_path": {"waiting": {"0": 2, "9": 5}}}
    (shown,) = node_status(topology, topology.nodes["gw-sto-1"], core, facts(proxies=(shop,))).proxies
    assert (shown.open, shown.open_waiting, shown.open_spliced) == (shop.open + 2, 2, 1)


def test_connections_of_proxies_are_shown_once() -> None:
    flow = FlowStatus("shop", "tcp", "c:1", "v:80", "", "", "e", "established", 0.0, 0, 0, 0, 0)
    in_stack = replace(flow, mode="normal", connection=1, why="p2c")
    of_core = [
        replace(flow, mode="normal", connection=1, records={"client": {}}, snat="s:1"),
        replace(flow, mode="spliced", connection=2, target="t:80"),
        replace(flow, mode="normal", connection=3),
        flow,
    ]
    found = joined([in_stack], of_core, {2: "rule 1, p2c"})
    assert found == [
        replace(in_stack, records={"client": {}}, snat="s:1"),
        flow,
        replace(of_core[1], why="rule 1, p2c"),
    ]
