"""A topology as namespaces, cables, addresses and routes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.plan import Plan, interface_name, make_plan
from lab.script import direct_commands, hub_commands, member_commands, port_sysctls, sysctls
from tests.lab.small import neighbours, small


def plan(*, direct: bool = False) -> Plan:
    topology = small()
    return make_plan(topology, neighbours(topology), direct=direct)


def test_every_pair_of_neighbours_has_one_link() -> None:
    names = [link.name for link in plan().links]
    assert names == ["edge-1/mid-1", "edge-1/mid-2", "edge-1/ns-1", "gw-1/mid-1", "gw-1/mid-2"]


def test_namespaces_are_named_after_topology_and_member() -> None:
    made = plan()
    assert made.hub == "small-hub"
    assert {member.namespace for member in made.members.values()} == {
        f"small-{name}" for name in ("edge-1", "mid-1", "mid-2", "gw-1", "ns-1", "alice", "origin-1")
    }


def test_a_node_reaches_its_neighbour_through_their_own_link_without_asking_for_its_mac() -> None:
    made = plan()
    link, swapped = made.link("mid-2", "edge-1")
    assert swapped
    assert link.a.interface == "to-mid-2"
    lines = member_commands(made, made.members["edge-1"])
    assert "addr add 10.80.0.10/32 dev to-mid-2" in lines
    assert "addr add fd80::10/128 dev to-mid-2 nodad" in lines
    assert "route replace 10.80.0.12/32 dev to-mid-2 src 10.80.0.10" in lines
    assert "route replace fd80::12/128 dev to-mid-2 src fd80::10" in lines
    assert f"neigh replace fd80::12 lladdr {link.b.mac} dev to-mid-2 nud permanent" in lines
    assert not any("10.80.0.13" in line for line in lines), "edge and gateway are no neighbours"


def test_macs_are_local_unicast_distinct_and_the_same_every_time() -> None:
    macs = [port.mac for member in plan().members for port in plan().ports_of(member)]
    assert macs == [port.mac for member in plan().members for port in plan().ports_of(member)]
    assert len(set(macs)) == len(macs)
    assert all(re.fullmatch(r"02(:[0-9a-f]{2}){5}", mac) for mac in macs)


def test_clients_have_a_default_route_to_their_edge_and_braids_dns() -> None:
    alice = plan().members["alice"]
    assert alice.routes == (
        "route replace default via 10.81.1.2 dev clients",
        "route replace default via fd81:1::2 dev clients",
    )
    assert alice.resolvers == ("10.81.1.53", "fd81:1::53")


def test_origins_know_the_snat_pools_that_are_not_on_their_segment() -> None:
    origin = plan().members["origin-1"]
    assert origin.routes == ("route replace 10.99.0.0/30 via 10.83.0.2 dev a-very-lon-11c5",)
    assert origin.origin_ports == (80, 81, 8080)


def test_only_edges_and_gateways_forward() -> None:
    made = plan()
    forwarding = {name for name, member in made.members.items() if ("ipv4/ip_forward", "1") in sysctls(member)}
    assert forwarding == {"edge-1", "gw-1"}
    assert ("ipv6/neigh/clients/proxy_delay", "0") in port_sysctls(made, made.members["edge-1"])


def test_a_link_is_a_bridge_in_the_hub_or_a_plain_veth_when_direct() -> None:
    lines = hub_commands(plan())
    assert "link set l0a master l0 up" in lines
    assert "link set l0b master l0 up" in lines
    assert direct_commands(plan()) == {}
    direct = plan(direct=True)
    assert not any(line.startswith("link add name l0") for line in hub_commands(direct))
    assert any(" n0 " in line for line in hub_commands(direct)), "lab networks stay bridges"
    made = [line for lines in direct_commands(direct).values() for line in lines]
    assert len(made) == len(direct.links)
    assert any("name to-mid-1 " in line and "peer name to-edge-1 " in line for line in made)


def test_the_links_mtu_is_the_underlays() -> None:
    topology = small(mtu=9000)
    made = make_plan(topology, neighbours(topology))
    assert {port.mtu for link in made.links for port in (link.a, link.b)} == {9000}
    assert all("mtu 9000" in line for line in hub_commands(made) if " l0" in line and "link add" in line)


def test_a_link_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(LabError, match="gw-1 has links to mid-1, mid-2") as caught:
        plan().link("gw-1", "edge-1")
    assert caught.value.bad_input


def test_a_node_must_not_be_called_hub() -> None:
    topology = small(edge="hub")
    with pytest.raises(LabError, match="rename it"):
        make_plan(topology, neighbours(topology))


@given(st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True), unique=True, max_size=20))
def test_interface_names_fit_and_stay_apart(names: list[str]) -> None:
    made = [interface_name("to-", name) for name in names]
    assert all(len(name) <= 15 for name in made)
    assert len(set(made)) == len(names)
