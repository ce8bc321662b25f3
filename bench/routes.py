"""Routes of a contender through the lab's namespaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import namespaces

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    from lab.running import RunningLab

Way = tuple[str, str, str]
"""Edge, the node whose kernel forwards between them, gateway."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    address: str
    """By which the client reaches the origin through it."""
    processes: Mapping[str, tuple[int, ...]]
    """Of "edge" and "gateway"."""


def route(lab: RunningLab, member: str, prefix: str, via: IPv4Address | IPv6Address) -> None:
    """In a member's namespace: `prefix` is reached through `via`, a neighbour of it."""
    namespaces.ip("-n", lab.namespace(member), "route", "replace", prefix, "via", str(via), *_onlink(lab, member, via))


def join_ends(lab: RunningLab, way: Way) -> None:
    """Edge and gateway reach each other's underlay address by way of the kernel between them."""
    edge, relay, gateway = way
    for node, peer in ((edge, gateway), (gateway, edge)):
        route(lab, node, str(lab.topology.nodes[peer].underlay[0]), lab.topology.nodes[relay].underlay[0])


def lead_through(lab: RunningLab, way: Way, interfaces: tuple[str, str], origin: str, address: str) -> None:
    """Gives the origin one more address; what goes to and comes from it takes the tunnel's interfaces."""
    edge, _, gateway = way
    near, far = interfaces
    table = address.rpartition(".")[2]
    network = next(n for n in lab.topology.lab.networks if origin in n.members)
    attached = next(lab.plan.ports_of(origin)).interface
    namespaces.ip("-n", lab.namespace(origin), "address", "add", f"{address}/32", "dev", attached)
    namespaces.ip("-n", lab.namespace(edge), "route", "replace", f"{address}/32", "dev", near)
    own = str(network.members[origin][0])
    namespaces.ip("-n", lab.namespace(gateway), "route", "replace", f"{address}/32", "via", own)
    namespaces.ip("-n", lab.namespace(gateway), "route", "replace", "default", "dev", far, "table", table)
    namespaces.ip("-n", lab.namespace(gateway), "rule", "add", "from", address, "lookup", table)


def _onlink(lab: RunningLab, member: str, via: IPv4Address | IPv6Address) -> list[str]:
    """Underlay neighbours are host routes, which a gateway of a route may not be found by."""
    for link in lab.plan.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            if near.member == member and any(address.startswith(f"{via}/") for address in far.addresses):
                return ["dev", near.interface, "onlink"]
    return []
