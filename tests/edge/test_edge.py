from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from random import Random
from types import SimpleNamespace

from braid.app_numbers import AppNumbers
from braid.delegation import delegation, wanted
from braid.desired import Desired
from braid.events import Control
from braid.messages import MAX_DELAY, ApplicationDelay
from braid.moves import Divert, encode
from braid.role import Situation
from edge.applications import edge_policy, peers_of
from edge.diverts import Diverts
from edge.load import Carried
from edge.node import Edge
from edge.report import Meters, carried, edge_measures, edge_report
from edge.vip import captured
from tests.delegations import situation as situation_of
from tests.topology.test_transfers import ROW, text
from topology.policy import FixedCopies
from topology.source import load, parse
from topology.vips import vip_for

TOPOLOGY = load(Path("lab/demo.yaml"))
EDGE = "edge-fra-1"


@dataclass
class FakeLinks:
    neighbours: set[str] = field(default_factory=set)
    paths: dict[str, int] = field(default_factory=dict)
    delays: dict[int, float] = field(default_factory=dict)

    def neighbour_up(self, name: str) -> bool:
        return name in self.neighbours

    def peer_up(self, name: str) -> bool:
        return self.paths.get(name, 0) > 0

    def usable_paths(self, name: str) -> int:
        return self.paths.get(name, 0)

    def round_trips(self) -> dict[int, float]:
        return self.delays


def test_applications_carry_their_vips_ports_and_gateways_in_order() -> None:
    numbers = AppNumbers()
    policy = edge_policy(situation_of(TOPOLOGY, EDGE), numbers, Diverts())
    shop, lab, media = policy.applications
    gateways = {name: TOPOLOGY.nodes[name].number for name in ("gw-sto-1", "gw-mil-1")}
    assert numbers.names == ("shop", "lab", "media")
    assert shop.ports == (("tcp", 80, 80), ("icmp", 0, 65535))
    assert lab.ports == (("any", 0, 65535),)
    assert shop.gateways == (gateways["gw-sto-1"], gateways["gw-mil-1"])
    assert lab.gateways == (gateways["gw-mil-1"], gateways["gw-sto-1"])
    assert shop.vips == tuple(str(vip.address) for vip in vip_for(TOPOLOGY, EDGE, "shop"))
    assert len(shop.vips) == 2
    assert (shop.owners, media.owners) == ((), (TOPOLOGY.nodes["cache-fra-1"].number,))


def test_content_proxies_of_the_routing_table_may_have_connections() -> None:
    topology = parse(text(ROW.replace("c-1, c-2", "c-1")), "net.yaml")
    (application,) = edge_policy(situation_of(topology, "e-1"), AppNumbers(), Diverts()).applications
    assert application.owners == (topology.nodes["c-1"].number,)


def test_what_a_certificate_does_not_allow_no_edge_sends_to_a_proxy() -> None:
    topology = parse(text(ROW), "net.yaml")
    elsewhere = delegation([ip_network("192.0.2.0/24")], ["shop.apps.example"])
    for delegations in ({}, {"c-1": elsewhere, "c-2": wanted(topology, "c-2")}):
        situation = Situation(topology, "e-1", FakeLinks(), delegations)
        (application,) = edge_policy(situation, AppNumbers(), Diverts()).applications
        assert application.owners == tuple(int(topology.nodes[name].number) for name in delegations if name == "c-2")


def test_only_vips_of_this_edge_are_captured() -> None:
    prefixes = captured(TOPOLOGY, EDGE)
    assert len(prefixes) == 6
    assert all(prefix.num_addresses == 1 for prefix in prefixes)
    assert not set(prefixes) & set(captured(TOPOLOGY, "edge-nyc-1"))


def test_peers_are_the_gateways_with_every_number_of_copies() -> None:
    three = replace(TOPOLOGY.applications["lab"], redundancy=FixedCopies(3), gateways=("gw-mil",))
    topology = replace(TOPOLOGY, applications=TOPOLOGY.applications | {"lab": three})
    assert peers_of(topology, EDGE) == {"gw-sto-1": frozenset({2}), "gw-mil-1": frozenset({2, 3})}


def test_an_edge_is_ready_with_a_neighbour_and_a_gateway() -> None:
    role = Edge(Random(1))

    def failing(links: FakeLinks) -> list[str]:
        return [check.name for check in role.checks(Situation(TOPOLOGY, EDGE, links)) if not check.ok]

    assert failing(FakeLinks()) == ["neighbour", "gateway"]
    assert failing(FakeLinks({"dns-1"})) == ["neighbour", "gateway"]
    assert failing(FakeLinks({"mid-ams-1"})) == ["gateway"]
    assert failing(FakeLinks({"mid-ams-1"}, {"gw-mil-1": 1})) == []


def test_a_report_counts_the_paths_to_the_best_reachable_gateway() -> None:
    links = FakeLinks({"mid-ams-1"}, {"gw-sto-1": 1, "gw-mil-1": 2})
    report = edge_report(Situation(TOPOLOGY, EDGE, links), ready=True, draining=False)
    assert {application.name: application.usable for application in report.applications} == {
        "shop": 1,
        "lab": 2,
        "media": 1,
    }
    assert report.ready
    none = edge_report(Situation(TOPOLOGY, EDGE, FakeLinks()), ready=False, draining=True)
    assert [application.usable for application in none.applications] == [0, 0, 0]
    assert none.draining


def test_measures_are_those_of_the_gateway_that_new_flows_go_to() -> None:
    stockholm, milan = (int(TOPOLOGY.nodes[name].number) for name in ("gw-sto-1", "gw-mil-1"))
    delays = {stockholm: 20.04, milan: 99_999.0}
    situation = Situation(TOPOLOGY, EDGE, FakeLinks({"mid-ams-1"}, {"gw-sto-1": 2, "gw-mil-1": 2}, delays))
    meters = Meters()
    assert edge_measures(situation, meters).applications == (
        ApplicationDelay("shop", None),
        ApplicationDelay("lab", None),
        ApplicationDelay("media", None),
    )
    for step in range(20):
        meters.observe(situation, Carried(0, 0, (step * 1.0,)), float(step))
    assert edge_measures(situation, meters).applications == (
        ApplicationDelay("shop", 200),
        ApplicationDelay("lab", MAX_DELAY),
        ApplicationDelay("media", 200),
    )
    assert edge_measures(situation, meters).spill > 0, "its data thread does nothing but work"
    alone = Situation(TOPOLOGY, EDGE, FakeLinks({"mid-ams-1"}, {"gw-sto-1": 2}, delays))
    assert [each.delay for each in edge_measures(alone, meters).applications] == [200, 200, 200]
    report = edge_report(situation, ready=True, draining=False, load=meters.load.load)
    assert {application.load for application in report.applications} == {255}
    assert carried({"tun_rx_bytes": 5, "tun_tx_bytes": 7}, (0.5,)) == Carried(5, 7, (0.5,))


def test_gateways_that_start_again_are_believed_whatever_their_clocks_say() -> None:
    topology = load(Path("topology/examples/two-gateways.yaml"))
    first, second = (int(topology.nodes[name].number) for name in ("gw-1-1", "gw-1-2"))
    told: list[tuple[str, bytes]] = []
    role = Edge(Random(1))
    role._node = SimpleNamespace(  # type: ignore[assignment]
        situation=lambda: situation_of(topology, "edge-1"),
        replan=lambda: None,
        send_to_peer=lambda name, message: told.append((name, message)),
    )

    def say(order: int) -> int:
        message = encode(Divert(b"12345678", order, second, ()))
        role.receive_control(Control(first, False, message), 0.0)
        return len(told)

    assert [say(1000), say(20)] == [1, 1]
    role.receive_restart(first, True, 0.0)
    assert say(20) == 1, "that was another session"
    role.receive_restart(first, False, 0.0)
    assert say(20) == 2


def test_the_edge_adds_its_own_part_alone() -> None:
    desired = Edge(Random(1)).complete(Desired(), situation_of(TOPOLOGY, EDGE), AppNumbers())
    assert desired.gateway is None
    assert desired.edge is not None
