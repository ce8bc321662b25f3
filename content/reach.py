"""Whose connections a content proxy may take over: what the data plane and the kernel are told. Pure.

What comes out of the overlay for a VIP is delivered locally, and what the stack sends from a VIP goes back there.
Unlike at a gateway the VIPs are no addresses of the host for anything else: the proxy reaches its origins by them.
Routes carry a protocol number of ours and rules a priority of ours, so what a crash left is found and replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.delegation import allows
from braid.desired import GatewayPolicy, GatewayVip, ProxiedApplication
from braid.plan import port_matches
from braid.transfer_table import host_of, pairs
from braid.tun import DEVICE
from topology.model import Role
from topology.proxy import ProxySettings

if TYPE_CHECKING:
    from braid.role import Situation
    from topology.model import Application, IPAddress, Topology

PROTOCOL = "187"
INWARD, OUTWARD = "7401", "7402"
"""Tables of routes, for packets from and to the overlay."""
PRIORITY = "7399"
LAST = "100000"
"""Metric of a route that stands behind all others."""
DIRECT = 1
"""Edges are neighbours: one path and one copy."""


def peers_of(topology: Topology, node: str) -> dict[str, frozenset[int]]:
    """Edge nodes whose clients' connections may come here."""
    return {edge: frozenset({DIRECT}) for edge, proxy, _ in sorted(pairs(topology)) if proxy == node}


def applications_of(topology: Topology, node: str) -> tuple[Application, ...]:
    names = {application for _, proxy, application in pairs(topology) if proxy == node}
    return tuple(each for each in topology.applications.values() if each.name in names)


def may_ask(topology: Topology, gateway: int, application: str) -> bool:
    """Whether a node, by its number, is a gateway of the application."""
    node, found = topology.by_number(gateway), topology.applications.get(application)
    return node is not None and found is not None and node.region in found.gateways


def may_outdate(topology: Topology, gateway: int, key: str) -> bool:
    """Whether a node, by its number, is a gateway of the application that what is stored by this key is of."""
    host = host_of(key)
    named = (each.name for each in topology.applications.values() if host in each.hostnames)
    return any(may_ask(topology, gateway, name) for name in named)


def may_follow(topology: Topology, before: int, now: int) -> bool:
    """Whether a gateway may decide about connections that another one has given away: those of a region may, as clients
    of one that is drained go to another. Nodes by their numbers."""
    nodes = topology.by_number(before), topology.by_number(now)
    one, other = ((node.role is Role.GATEWAY and node.region) if node else False for node in nodes)
    return one is not False and one == other


def askers_of(topology: Topology, application: str) -> tuple[int, ...]:
    """By their numbers, those that ``may_ask``."""
    regions = topology.applications[application].gateways
    return tuple(each.number for each in topology.nodes.values() if each.region in regions)


def gateways_of(topology: Topology, node: str) -> tuple[str, ...]:
    """Those that may ask it."""
    regions = {region for application in applications_of(topology, node) for region in application.gateways}
    return tuple(each.name for each in topology.nodes.values() if each.region in regions)


def vips_of(situation: Situation) -> dict[IPAddress, tuple[str, str]]:
    """VIPs that sockets may be built for, by the routing table and this node's certificate: edge node and application
    of each."""
    topology, node = situation.topology, situation.node
    mine = {(edge, application) for edge, proxy, application in pairs(topology) if proxy == node}
    return {
        vip.address: (vip.edge, vip.application)
        for vip in topology.vips
        if (vip.edge, vip.application) in mine and allows(situation.delegations, node, [vip.address])
    }  # fmt: skip


def idle_of(topology: Topology, application: str) -> float:
    """Seconds that a client's connection may do nothing: it came from a gateway, and is to notice no difference."""
    found = topology.applications.get(application)
    return ((found and found.proxy) or ProxySettings("")).idle_timeout


def content_policy(situation: Situation) -> GatewayPolicy:
    """A gateway's, with nothing but connections that end in the stack."""
    topology, vips = situation.topology, vips_of(situation)
    return GatewayPolicy(
        proxied=tuple(
            ProxiedApplication(
                vips=tuple(
                    GatewayVip(str(address), topology.nodes[edge].number)
                    for address, (edge, name) in vips.items()
                    if name == application.name
                ),
                ports=port_matches(application.ports),
                set=DIRECT,
            )
            for application in applications_of(topology, situation.node)
        )
    )


@dataclass(frozen=True, slots=True)
class Local:
    """What the kernel is told."""

    vips: frozenset[IPAddress] = frozenset()


def changes(before: Local, after: Local, version: int) -> list[tuple[str, ...]]:
    """``ip`` commands of one IP version, additions first."""

    def of(vips: frozenset[IPAddress]) -> list[str]:
        return sorted(str(vip) for vip in vips if vip.version == version)

    def frame(verb: str) -> list[tuple[str, ...]]:
        route = "replace" if verb == "add" else verb
        end = "table", OUTWARD, "proto", PROTOCOL
        return [
            ("route", route, "default", "dev", DEVICE, *end),
            # When this process is killed its TUN goes first: what the stack then says to clients must not find another
            # way to them.
            ("route", route, "blackhole", "default", *end, "metric", LAST),
            ("rule", verb, "iif", DEVICE, "lookup", INWARD, "priority", PRIORITY),
        ]

    def inward(verb: str, vip: str) -> tuple[str, ...]:
        return "route", verb, "local", vip, "dev", "lo", "table", INWARD, "proto", PROTOCOL

    def outward(verb: str, vip: str) -> tuple[str, ...]:
        return "rule", verb, "iif", "lo", "from", vip, "lookup", OUTWARD, "priority", PRIORITY

    had, has = bool(of(before.vips)), bool(of(after.vips))
    return [
        *(frame("add") if has and not had else ()),
        *(outward("add", vip) for vip in of(after.vips - before.vips)),
        *(inward("replace", vip) for vip in of(after.vips - before.vips)),
        *(inward("delete", vip) for vip in of(before.vips - after.vips)),
        *(outward("delete", vip) for vip in of(before.vips - after.vips)),
        *(frame("delete") if had and not has else ()),
    ]
