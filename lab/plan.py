"""What a topology looks like in network namespaces: a pure function from ``Topology`` to frozen values.

Every node and lab host gets a namespace ``<topology>-<name>``; ``<topology>-hub`` holds the cables. A pair of
neighbouring nodes is joined by one underlay link: veth - bridge in the hub - veth, or one plain veth when ``direct``.
A lab network is a bridge with a veth to each member.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from lab.errors import LabError
from topology.model import IPAddress, LabNetwork, Node, Protocol, Role, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HUB = "hub"
_NAME_LIMIT = 15
"""Longest interface name Linux takes (IFNAMSIZ - 1)."""
_CLIENTS = ("client", Role.CONTENT.value)
"""Kinds of members that reach VIPs through an edge on their network."""


@dataclass(frozen=True, slots=True)
class Port:
    """One interface of a namespace; ``addresses`` carry their prefix length."""

    member: str
    interface: str
    mac: str
    addresses: tuple[str, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class UnderlayLink:
    """Two neighbouring nodes. ``hub_a`` and ``hub_b`` are the hub's ends; unused names when the lab is direct."""

    a: Port
    b: Port
    bridge: str
    hub_a: str
    hub_b: str

    @property
    def name(self) -> str:
        return link_name(self.a.member, self.b.member)


@dataclass(frozen=True, slots=True)
class Segment:
    """A lab network: its bridge and, per member, the hub's end and the member's end of the veth."""

    name: str
    bridge: str
    ports: tuple[tuple[str, Port], ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One namespace besides the hub."""

    name: str
    namespace: str
    kind: str
    """A role of ``topology.model.Role``, "client" or "origin"."""
    routes: tuple[str, ...]
    """``ip`` commands, to be run in the namespace when all its interfaces are up."""
    resolvers: tuple[str, ...]
    origin_ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    hub: str
    direct: bool
    members: dict[str, Member]
    links: tuple[UnderlayLink, ...]
    segments: tuple[Segment, ...]

    def link(self, a: str, b: str) -> tuple[UnderlayLink, bool]:
        """The link of two nodes, and whether it is stored the other way round (its ``a`` is our ``b``)."""
        for link in self.links:
            if (link.a.member, link.b.member) == (a, b):
                return link, False
            if (link.a.member, link.b.member) == (b, a):
                return link, True
        peers = sorted(
            {link.b.member if link.a.member == a else link.a.member for link in self.links if a in _ends(link)}
        )
        remedy = (
            f"{a} has links to {', '.join(peers)}" if peers else "see `braid lab links` for the nodes that have links"
        )
        raise LabError(f"there is no underlay link between {a} and {b}", remedy, bad_input=True)

    def ports_of(self, member: str) -> Iterator[Port]:
        underlay = chain.from_iterable((link.a, link.b) for link in self.links)
        networks = (port for segment in self.segments for _, port in segment.ports)
        return (port for port in chain(underlay, networks) if port.member == member)


def link_name(a: str, b: str) -> str:
    return f"{a}/{b}"


def make_plan(topology: Topology, neighbours: Mapping[str, tuple[Node, ...]], *, direct: bool = False) -> Plan:
    """``neighbours``: per node name, the nodes it exchanges datagrams with (``topology.graph.neighbours``).

    LabError when a name cannot be a namespace or an interface.
    """
    names = [*topology.nodes, *(host.name for host in topology.lab.hosts)]
    if HUB in names:
        raise LabError(
            f"{topology.name}: a node or lab host is called {HUB!r}",
            "rename it: the lab's own namespace has that name",
            bad_input=True,
        )
    pairs = sorted(
        {(min(name, peer.name), max(name, peer.name)) for name, peers in neighbours.items() for peer in peers}
    )
    links = tuple(_link(topology, index, a, b) for index, (a, b) in enumerate(pairs))
    segments = tuple(_segment(topology, index, network) for index, network in enumerate(topology.lab.networks))
    kinds = {name: node.role.value for name, node in topology.nodes.items()} | {
        host.name: host.kind for host in topology.lab.hosts
    }
    members = {
        name: Member(
            name=name,
            namespace=f"{topology.name}-{name}",
            kind=kind,
            routes=(*_underlay_routes(topology, name, links), *_network_routes(topology, name, kind)),
            resolvers=tuple(str(address) for address in _resolvers(topology, name)) if kind == "client" else (),
            origin_ports=_origin_ports(topology, name) if kind == "origin" else (),
        )
        for name, kind in kinds.items()
    }
    return Plan(topology.name, f"{topology.name}-{HUB}", direct, members, links, segments)


def _ends(link: UnderlayLink) -> tuple[str, str]:
    return link.a.member, link.b.member


def _link(topology: Topology, index: int, a: str, b: str) -> UnderlayLink:
    mtu = min(topology.nodes[a].mtu, topology.nodes[b].mtu)
    return UnderlayLink(
        _underlay_port(topology, a, b, mtu),
        _underlay_port(topology, b, a, mtu),
        f"l{index}",
        f"l{index}a",
        f"l{index}b",
    )


def _underlay_port(topology: Topology, name: str, peer: str, mtu: int) -> Port:
    interface = interface_name("to-", peer)
    addresses = tuple(f"{address}/{address.max_prefixlen}" for address in topology.nodes[name].underlay)
    return Port(name, interface, _mac(topology.name, name, interface), addresses, mtu)


def _segment(topology: Topology, index: int, network: LabNetwork) -> Segment:
    interface = interface_name("", network.name)
    ports = []
    for position, (member, addresses) in enumerate(network.members.items()):
        with_length = tuple(f"{address}/{_prefix_length(network, address)}" for address in addresses)
        port = Port(member, interface, _mac(topology.name, member, interface), with_length, 1500)
        ports.append((f"n{index}p{position}", port))
    return Segment(network.name, f"n{index}", tuple(ports))


def interface_name(prefix: str, name: str) -> str:
    """``prefix + name`` where Linux takes it, else a shorter name that still differs for different ``name``."""
    if len(prefix + name) <= _NAME_LIMIT:
        return prefix + name
    digest = hashlib.sha256(name.encode()).hexdigest()[:4]
    return f"{prefix}{name[: _NAME_LIMIT - len(prefix) - 5]}-{digest}"


def _prefix_length(network: LabNetwork, address: IPAddress) -> int:
    return max((prefix.prefixlen for prefix in network.prefixes if address in prefix), default=address.max_prefixlen)


def _mac(*parts: str) -> str:
    """Locally administered, unicast, and the same at every ``up``."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return "02:" + ":".join(f"{byte:02x}" for byte in digest[:5])


def _underlay_routes(topology: Topology, name: str, links: tuple[UnderlayLink, ...]) -> Iterator[str]:
    for link in links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            if near.member != name:
                continue
            own = {address.version: address for address in topology.nodes[name].underlay}
            for address in topology.nodes[far.member].underlay:
                if address.version in own:
                    yield f"neigh replace {address} lladdr {far.mac} dev {near.interface} nud permanent"
                    source = own[address.version]
                    yield f"route replace {address}/{address.max_prefixlen} dev {near.interface} src {source}"


def _network_routes(topology: Topology, name: str, kind: str) -> Iterator[str]:
    defaulted: set[int] = set()
    for network in topology.lab.networks:
        if name not in network.members or kind not in (*_CLIENTS, "origin"):
            continue
        interface = interface_name("", network.name)
        families = {address.version for address in network.members[name]}
        for node in (topology.nodes[member] for member in network.members if member in topology.nodes):
            via = {address.version: address for address in network.members[node.name]}
            if kind in _CLIENTS and node.role is Role.EDGE:
                for version in sorted((families & via.keys()) - defaulted):
                    defaulted.add(version)
                    yield f"route replace default via {via[version]} dev {interface}"
            if kind == "origin" and node.role is Role.GATEWAY:
                for pool in node.snat_pools:
                    # Pools inside the segment are answered for by the gateway's proxy ARP / NDP.
                    on_link = any(pool.version == p.version and pool.subnet_of(p) for p in network.prefixes)  # type: ignore[arg-type]
                    if not on_link and pool.version in families & via.keys():
                        yield f"route replace {pool} via {via[pool.version]} dev {interface}"


def _resolvers(topology: Topology, client: str) -> Iterator[IPAddress]:
    for network in topology.lab.networks:
        if client in network.members:
            for member, addresses in network.members.items():
                if member in topology.nodes and topology.nodes[member].role is Role.DNS:
                    yield from addresses


def _origin_ports(topology: Topology, host: str) -> tuple[int, ...]:
    """TCP ports that applications expect at this origin, always with 80; whole ranges do not count."""
    addresses = {address for network in topology.lab.networks for address in network.members.get(host, ())}
    ports = {80}
    for application in topology.applications.values():
        for target in application.targets:
            if target.address not in addresses:
                continue
            if target.port is not None:
                ports.add(target.port)
            else:
                ports |= {p.low for p in application.ports if p.protocol is Protocol.TCP and p.low == p.high}
    return tuple(sorted(ports))
