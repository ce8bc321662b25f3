"""A Braid of two nodes, for tests of what does not depend on its size."""

from __future__ import annotations

from ipaddress import ip_address

from topology.model import DnsZone, Node, NodeNumber, Region, Role, SocketAddress, Topology


def node(name: str, number: int, role: Role, region: str) -> Node:
    address = ip_address(f"10.90.0.{number}")
    return Node(
        name, NodeNumber(number), region, role, (address,), 7400, 1, status=SocketAddress(address, 7480), mtu=1500
    )


def make_topology(name: str = "demo") -> Topology:
    regions = {
        "edge-fra": Region("edge-fra", Role.EDGE, "Frankfurt", frozenset()),
        "mid-ams": Region("mid-ams", Role.INTERMEDIATE, "Amsterdam", frozenset()),
        "mid-lon": Region("mid-lon", Role.INTERMEDIATE, "London", frozenset()),
    }
    nodes = {
        "edge-fra-1": node("edge-fra-1", 11, Role.EDGE, "edge-fra"),
        "mid-ams-1": node("mid-ams-1", 21, Role.INTERMEDIATE, "mid-ams"),
    }
    return Topology(name, regions, nodes, (), {}, (), DnsZone("apps.example", 30, "hostmaster.apps.example"))


TOPOLOGY = make_topology()
