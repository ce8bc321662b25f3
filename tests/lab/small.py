"""A Braid of four nodes and two lab hosts, built without a file."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from topology.model import (
    Application,
    CheckKind,
    DnsZone,
    HealthCheck,
    IPAddress,
    Lab,
    LabHost,
    LabNetwork,
    Link,
    Node,
    NodeNumber,
    PortRange,
    Protocol,
    Region,
    Role,
    ServiceMode,
    SocketAddress,
    Target,
    Topology,
)
from topology.policy import FixedCopies

ROLES = {
    "edge-1": Role.EDGE,
    "mid-1": Role.INTERMEDIATE,
    "mid-2": Role.INTERMEDIATE,
    "gw-1": Role.GATEWAY,
    "ns-1": Role.DNS,
}


def addresses(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(ip_address(text) for text in texts)


def small(name: str = "small", *, edge: str = "edge-1", mtu: int = 1500) -> Topology:
    """Edge, two intermediates, gateway, DNS; a client at the edge and an origin behind the gateway."""
    roles = {edge if node == "edge-1" else node: role for node, role in ROLES.items()}
    nodes = {
        node: Node(
            name=node,
            number=NodeNumber(10 + index),
            region=f"r-{node}",
            role=role,
            underlay=addresses(f"10.80.0.{10 + index}", f"fd80::{10 + index}"),
            port=7400,
            shards=1,
            status=SocketAddress(ip_address(f"10.80.0.{10 + index}"), 7480),
            mtu=mtu,
            snat_pools=(ip_network("10.83.0.128/30"), ip_network("10.99.0.0/30")) if role is Role.GATEWAY else (),
        )
        for index, (node, role) in enumerate(roles.items())
    }
    networks = (
        LabNetwork(
            "clients",
            (ip_network("10.81.1.0/24"), ip_network("fd81:1::/64")),
            {
                edge: addresses("10.81.1.2", "fd81:1::2"),
                "ns-1": addresses("10.81.1.53", "fd81:1::53"),
                "alice": addresses("10.81.1.10", "fd81:1::10"),
            },
        ),
        LabNetwork(
            "a-very-long-name-of-origins",
            (ip_network("10.83.0.0/24"), ip_network("fd83::/64")),
            {"gw-1": addresses("10.83.0.2", "fd83::2"), "origin-1": addresses("10.83.0.10", "fd83::10")},
        ),
    )
    application = Application(
        name="shop",
        hostnames=("shop.apps.example",),
        ports=(PortRange(Protocol.TCP, 8080, 8080), PortRange(Protocol.TCP, 9000, 9100)),
        targets=(Target(ip_address("10.83.0.10"), None, 1), Target(ip_address("fd83::10"), 81, 1)),
        gateways=("r-gw-1",),
        redundancy=FixedCopies(2),
        mode=ServiceMode.NAT,
        check=HealthCheck(CheckKind.NONE, 80, "/", 1.0, 1.0, 1, 1),
    )
    return Topology(
        name=name,
        regions={f"r-{node}": Region(f"r-{node}", role, node, frozenset()) for node, role in roles.items()},
        nodes=nodes,
        links=tuple(Link(f"r-{end}", f"r-{mid}", 1.0) for end in (edge, "gw-1") for mid in ("mid-1", "mid-2")),
        applications={"shop": application},
        vips=(),
        zone=DnsZone("apps.example", 30, "hostmaster.apps.example"),
        lab=Lab((ip_network("10.80.0.0/24"),), networks, (LabHost("alice", "client"), LabHost("origin-1", "origin"))),
    )


def neighbours(topology: Topology) -> dict[str, tuple[Node, ...]]:
    """Edge and gateway with both intermediates, DNS with the edge."""
    nodes = topology.nodes
    ends = [name for name, node in nodes.items() if node.role in (Role.EDGE, Role.GATEWAY)]
    edge = next(name for name, node in nodes.items() if node.role is Role.EDGE)
    found: dict[str, tuple[Node, ...]] = dict.fromkeys(ends, (nodes["mid-1"], nodes["mid-2"]))
    found |= {mid: tuple(nodes[end] for end in ends) for mid in ("mid-1", "mid-2")}
    found[edge] = (*found[edge], nodes["ns-1"])
    found["ns-1"] = (nodes[edge],)
    return found
