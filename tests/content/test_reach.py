"""Which connections a content proxy may have, and what core and kernel are told for them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

from braid.app_numbers import AppNumbers
from braid.delegation import delegation
from braid.desired import Desired, PathChoice, PathSet, ProxiedApplication
from braid.plan import PathPlanner
from content.node import Content
from content.reach import Local, changes, content_policy, idle_of, may_follow, peers_of, vips_of
from edge.node import Edge
from tests.delegations import situation
from tests.topology.test_transfers import ROW, text
from topology.graph import neighbours
from topology.model import Role
from topology.source import load, parse
from topology.table import takes_transfers

TOPOLOGY = parse(text(ROW.replace("c-1, c-2", "c-1")), "net.yaml")
(VIP,) = TOPOLOGY.vips
SITUATION = situation(TOPOLOGY, "c-1")


class Alone:
    def neighbour_up(self, name: str) -> bool:
        return False

    def peer_up(self, name: str) -> bool:
        return False

    def usable_paths(self, name: str) -> int:
        return 0

    def round_trips(self) -> dict[int, float]:
        return {}


def test_a_gateway_of_the_region_may_be_followed_and_no_other_node() -> None:
    found = load(Path("topology/examples/two-gateways.yaml"))
    number = {name: node.number for name, node in found.nodes.items()}
    assert may_follow(found, number["gw-1-1"], number["gw-1-2"])
    for name, node in found.nodes.items():
        allowed = node.region == found.nodes["gw-1-1"].region
        assert may_follow(found, number["gw-1-1"], number[name]) is allowed, name
        assert not may_follow(found, max(number.values()) + 1, number[name])
        if node.role is not Role.GATEWAY:
            assert not may_follow(found, number[name], number[name])


def test_a_proxy_that_a_row_names_is_an_end_of_paths() -> None:
    assert takes_transfers(TOPOLOGY, "c-1")
    assert not takes_transfers(TOPOLOGY, "c-2")
    assert peers_of(TOPOLOGY, "c-1") == {"e-1": frozenset({1})}
    assert peers_of(TOPOLOGY, "c-2") == {}
    assert vips_of(SITUATION) == {VIP.address: ("e-1", "shop")}
    (application,) = content_policy(SITUATION).proxied
    assert isinstance(application, ProxiedApplication)
    assert [(vip.address, vip.edge) for vip in application.vips] == [(str(VIP.address), TOPOLOGY.nodes["e-1"].number)]
    assert application.ports == (("tcp", 80, 80),)


def test_it_is_a_neighbour_of_the_gateways_that_may_ask_it() -> None:
    assert [node.name for node in neighbours(TOPOLOGY, "c-1")] == ["e-1", "g-1"]
    # Sessions are between all nodes of two regions.
    assert [node.name for node in neighbours(TOPOLOGY, "g-1")] == ["m-1", "n-1", "c-1", "c-2"]


def test_edge_and_proxy_have_one_path_without_intermediates() -> None:
    roles = {"e-1": Edge(Random(1)), "c-1": Content()}
    for name, peer in (("e-1", "c-1"), ("c-1", "e-1")):
        peers = roles[name].peers(TOPOLOGY, name)
        assert peers[peer] == frozenset({1})
        number = TOPOLOGY.nodes[peer].number
        sets = PathPlanner().plan(TOPOLOGY, name, peers, lambda _node: True)
        assert PathSet(number, 1, (PathChoice(0, (int(number),)),)) in sets
    assert "c-2" not in roles["e-1"].peers(TOPOLOGY, "e-1")


def test_a_connection_may_be_idle_for_as_long_as_at_its_gateway() -> None:
    short = parse(text(ROW, ("{kind: http}", "{kind: http, idle_timeout: 7}")), "net.yaml")
    assert (idle_of(short, "shop"), idle_of(TOPOLOGY, "shop"), idle_of(TOPOLOGY, "gone")) == (7.0, 300.0, 300.0)


def test_only_a_proxy_that_takes_transfers_needs_a_tun() -> None:
    role = Content()
    assert role.has_tun(TOPOLOGY, "c-1")
    assert not role.has_tun(TOPOLOGY, "c-2")
    desired = Desired()
    assert role.complete(desired, situation(TOPOLOGY, "c-2"), AppNumbers()) is desired
    assert role.complete(desired, SITUATION, AppNumbers()).gateway == content_policy(SITUATION)


def test_no_sockets_are_built_for_vips_that_the_certificate_does_not_allow() -> None:
    allowed = SITUATION.delegations["c-1"]
    outside = {"c-1": delegation([ip_network("192.0.2.0/24")], allowed.names)}
    for delegations in ({}, outside):
        without = replace(SITUATION, delegations=delegations)
        assert vips_of(without) == {}
        assert [application.vips for application in content_policy(without).proxied] == [()]
        (check,) = [each for each in Content().checks(replace(without, links=Alone())) if each.name == "delegation"]
        assert not check.ok
        assert f"does not allow {VIP.address}" in check.detail
        assert "braid pki issue c-1" in check.detail
    (check,) = [each for each in Content().checks(replace(SITUATION, links=Alone())) if each.name == "delegation"]
    assert check.ok


def test_vips_are_local_for_what_comes_out_of_the_overlay_alone() -> None:
    vip = ip_address("10.1.0.130")
    here = Local(frozenset({vip}))
    assert changes(Local(), here, 4) == [
        ("route", "replace", "default", "dev", "braid0", "table", "7402", "proto", "187"),
        ("route", "replace", "blackhole", "default", "table", "7402", "proto", "187", "metric", "100000"),
        ("rule", "add", "iif", "braid0", "lookup", "7401", "priority", "7399"),
        ("rule", "add", "iif", "lo", "from", "10.1.0.130", "lookup", "7402", "priority", "7399"),
        ("route", "replace", "local", "10.1.0.130", "dev", "lo", "table", "7401", "proto", "187"),
    ]
    assert changes(here, here, 4) == []
    assert changes(Local(), here, 6) == []
    gone = changes(here, Local(), 4)
    assert [words[1] for words in gone] == ["delete"] * 5
