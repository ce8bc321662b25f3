"""What one DNS node needs to know, taken from the topology."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topology.model import DnsSettings, Fallback, Role
from topology.rules.records import server_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topology.model import DnsZone, IPAddress, IPNetwork, Location, Node, SocketAddress, Topology


TTL_DEGRADED = 10


@dataclass(frozen=True, slots=True)
class NameServer:
    """One DNS node as the zone names it."""

    hostname: str
    addresses: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    name: str
    number: int
    serves: tuple[IPNetwork, ...]
    weight: int = 1
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class DnsConfig:
    node: str
    listen: tuple[SocketAddress, ...]
    zone: DnsZone
    servers: tuple[NameServer, ...]
    """Every DNS node of the topology, so that all of them publish the same zone."""
    edges: tuple[Edge, ...]
    """In the order of the topology file."""
    hosts: Mapping[str, str]
    """Hostname, lower case without the final dot -> application."""
    vips: Mapping[tuple[int, str], tuple[IPAddress, ...]]
    """(index into ``edges``, application) -> addresses."""
    settings: DnsSettings = field(default_factory=DnsSettings)
    vip_pools: tuple[IPNetwork, ...] = ()
    copies: Mapping[str, int] = field(default_factory=dict)
    """Application -> disjoint paths that it asks for; 1 without an entry."""
    powerdns: SocketAddress | None = None
    fail_closed: frozenset[str] = frozenset()
    """Applications without an answer while no edge is in working order."""

    @property
    def ttl_degraded(self) -> int:
        """Seconds that an answer may be kept while not every edge of its application is well."""
        return min(self.zone.ttl, TTL_DEGRADED)


def dns_config(topology: Topology, node: str) -> DnsConfig:
    """Raises ``ValueError`` when ``node`` is not a DNS node with an address to listen on."""
    own = topology.nodes[node]
    if own.role is not Role.DNS or not own.dns_listen:
        raise ValueError(f"nodes.{node}.dns_listen: is missing; add the addresses that DNS is to be answered on")
    hosts: dict[str, str] = {}
    for application in topology.applications.values():
        for hostname in application.hostnames:
            hosts.setdefault(hostname, application.name)
    edges = tuple(
        Edge(edge.name, edge.number, edge.serves, edge.weight, topology.regions[edge.region].location)
        for edge in topology.by_role(Role.EDGE)
    )
    index = {edge.name: position for position, edge in enumerate(edges)}
    vips: dict[tuple[int, str], tuple[IPAddress, ...]] = {}
    for vip in topology.vips:
        key = (index[vip.edge], vip.application)
        vips[key] = (*vips.get(key, ()), vip.address)
    servers = _name_servers(topology, hosts)
    pools = tuple(pool for edge in topology.by_role(Role.EDGE) for pool in edge.vip_pools)
    applications = topology.applications.values()
    return DnsConfig(
        node=node,
        listen=own.dns_listen,
        powerdns=own.powerdns,
        zone=topology.zone,
        servers=servers,
        edges=edges,
        hosts=hosts,
        vips=vips,
        settings=topology.dns,
        vip_pools=pools,
        copies={application.name: application.copies for application in applications},
        fail_closed=frozenset(each.name for each in applications if each.fallback is Fallback.NONE),
    )


def _name_servers(topology: Topology, taken: Mapping[str, str]) -> tuple[NameServer, ...]:
    nodes = topology.by_role(Role.DNS)
    names = server_names(topology.zone.name, len(nodes), set(taken))
    return tuple(NameServer(name, _public(node)) for name, node in zip(names, nodes, strict=True))


def _public(node: Node) -> tuple[IPAddress, ...]:
    listen = tuple(dict.fromkeys(address.host for address in node.dns_listen if not address.host.is_unspecified))
    return listen or node.underlay
