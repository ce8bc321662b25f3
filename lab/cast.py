"""Who plays which part in the demo: chosen from a topology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.errors import LabError
from topology.model import Application, Protocol, Role, Topology


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays which part."""

    client: str
    edge: str
    dns: str
    resolver: str
    hostname: str
    vip: str
    web_gateway: str
    flow_vip: str
    flow_target: str
    move: Move | None
    """None: no row of ``transfers`` is about clear text at a path."""


@dataclass(frozen=True, slots=True)
class Move:
    """Whose connection moves where."""

    client: str
    hostname: str
    vip: str
    path: str
    gateway: str
    proxy: str


def cast_of(topology: Topology) -> Cast:
    """LabError when the topology has not what the demo shows: a client, a web and an any-port application, DNS."""

    def first(what: str, found: list[Any]) -> Any:
        if not found:
            raise LabError(f"the demo needs {what} in its topology", bad_input=True)
        return found[0]

    edges = {node.name for node in topology.by_role(Role.EDGE)}
    client, network, edge = first(
        "a client and an edge in one lab network",
        [
            (host.name, network, member)
            for host in topology.lab.hosts
            if host.kind == "client"
            for network in topology.lab.networks
            if host.name in network.members
            for member in network.members
            if member in edges
        ],
    )
    dns = first(
        "a DNS node in the client's network", [n.name for n in topology.by_role(Role.DNS) if n.name in network.members]
    )
    web = first("an application with tcp/80", [a for a in topology.applications.values() if _is_web(a)])
    any_port = first(
        "an application with ports: [any]",
        [a for a in topology.applications.values() if any(p.protocol is Protocol.ANY for p in a.ports)],
    )
    target = first("an IPv4 target", [t.address for t in any_port.targets if t.address.version == 4])
    owners = [m for n in topology.lab.networks for m, addresses in n.members.items() if target in addresses]

    def vip(application: Application) -> str:
        found = [
            v.address
            for v in topology.vips
            if (v.edge, v.application) == (edge, application.name) and v.address.version == 4
        ]
        return str(first(f"an IPv4 VIP of {application.name} at {edge}", found))

    def gateway(application: Application) -> str:
        return str(first("a gateway", [n.name for n in topology.nodes_of(application.gateways[0])]))

    rows = [row for row in topology.transfers if row.path]
    of = topology.applications[rows[0].application] if rows else None
    return Cast(
        client=client,
        edge=edge,
        dns=dns,
        resolver=str(first("an IPv4 address of the DNS node", [a for a in network.members[dns] if a.version == 4])),
        hostname=web.hostnames[0],
        vip=vip(web),
        web_gateway=gateway(web),
        flow_vip=vip(any_port),
        flow_target=str(first("a lab host with the target's address", owners)),
        move=None
        if of is None
        else Move(client, of.hostnames[0], vip(of), rows[0].path, gateway(of), rows[0].proxies[0]),
    )


def _is_web(application: Application) -> bool:
    return any(p.protocol is Protocol.TCP and p.low <= 80 <= p.high for p in application.ports)
