"""What a Braid is: regions, nodes, links, applications and addresses, as frozen values.

Every room works on these types. They are made by ``topology.source`` from a file and are complete and
consistent by construction: defaults are filled in, VIPs are assigned, node numbers are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

from topology.address import IPAddress, IPInterface, IPNetwork, PortRange, Protocol, SocketAddress, Target

if TYPE_CHECKING:
    from topology.content import ContentSettings
    from topology.drains import DrainRow
    from topology.proxy import ProxySettings
    from topology.transfer import TransferRow

from topology.policy import Policy, copies_wanted

# Of those below that others take from here.
__all__ = ["IPAddress", "IPInterface", "IPNetwork", "PortRange", "Protocol", "SocketAddress", "Target"]

NodeNumber = NewType("NodeNumber", int)
"""1..65534; stands for a node in the route field of the hop header. Stable: it depends on the node's name alone."""


class Role(StrEnum):
    EDGE = "edge"
    INTERMEDIATE = "intermediate"
    GATEWAY = "gateway"
    DNS = "dns"
    CONTENT = "content"
    """A content proxy: answers HTTP requests from a cache."""


class ServiceMode(StrEnum):
    """How a gateway serves TCP of an application; all else goes through the NAT."""

    NAT = "nat"
    """Packets are rewritten; the handshake is the server's."""
    FAST_PATH = "fast-path"
    """The gateway answers by SYN cookie and asks the server when the client is proven real."""
    PROXY = "proxy"
    """Connections end in the gateway's own TCP stack, and an application proxy makes those to the servers."""


class CookiePlace(StrEnum):
    """Where SYNs to an application of mode ``fast-path`` are answered."""

    GATEWAY = "gateway"
    EDGE = "edge"
    """One round trip from client to edge, and a flood of SYNs never enters the overlay."""


class Fallback(StrEnum):
    """What DNS answers while no edge can carry an application."""

    ALL = "all"
    """Every VIP: a guess may work."""
    NONE = "none"
    """No address."""


class ClientSubnetUse(StrEnum):
    """Which client prefixes of resolvers (EDNS Client Subnet, RFC 7871) a DNS node steers by."""

    PUBLIC = "public"
    """Globally routed ones; for others the resolver's own address counts."""
    ALL = "all"
    OFF = "off"


class CheckKind(StrEnum):
    NONE = "none"
    TCP = "tcp"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Location:
    """A point on the Earth, in degrees."""

    latitude: float
    """-90..90, north is positive."""
    longitude: float
    """-180..180, east is positive."""

    def __str__(self) -> str:
        return f"{self.latitude:g},{self.longitude:g}"


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes of one role in one place; a shared-risk unit."""

    name: str
    role: Role
    place: str
    shared_risk: frozenset[str]
    """Names of shared-risk groups (cables, buildings) besides the region itself and its provider."""
    provider: str = ""
    """Whose network it is in; empty when the file does not say."""
    price: float = 0.0
    """What passing the region costs besides its links, in the unit of their costs."""
    location: Location | None = None
    """Of an edge region: where DNS takes its nodes to be."""
    cookie_secret: bytes = b""
    """Gateway regions: 16 bytes from which all their nodes make SYN cookies; empty lets every node draw its own."""

    @property
    def risks(self) -> frozenset[str]:
        """All that it shares its fate with: a provider is a shared-risk group of its name."""
        return self.shared_risk | {self.provider} if self.provider else self.shared_risk


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    number: NodeNumber
    region: str
    role: Role
    underlay: tuple[IPAddress, ...]
    """Where neighbours reach the node: at most one address per family, preferred one first."""
    port: int
    """UDP port on every underlay address."""
    shards: int
    status: SocketAddress
    mtu: int
    """MTU of the underlay in bytes."""
    serves: tuple[IPNetwork, ...] = ()
    """Edge: client prefixes that DNS sends here; the empty tuple serves everybody."""
    weight: int = 1
    """Edge: its share of the clients that it serves as well as others do."""
    capacity: int | None = None
    """Edge: Mbit/s of clients' packets that it can carry in one direction; None is not known."""
    vip_pools: tuple[IPNetwork, ...] = ()
    """Edge: where its VIPs are taken from."""
    snat_pools: tuple[IPNetwork, ...] = ()
    """Gateway: the source addresses that target servers see."""
    dns_listen: tuple[SocketAddress, ...] = ()
    """DNS: addresses answered on."""
    powerdns: SocketAddress | None = None
    """DNS: where a PowerDNS of the operator asks for the same decisions over HTTP; None is nowhere."""
    content: ContentSettings | None = None
    """There when the role is ``content``."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two regions whose nodes are neighbours, with the static cost of crossing (milliseconds by convention)."""

    a: str
    b: str
    cost: float


@dataclass(frozen=True, slots=True)
class HealthCheck:
    kind: CheckKind
    port: int
    path: str
    interval: float
    """Seconds between checks of one target."""
    timeout: float
    rise: int
    fall: int


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    hostnames: tuple[str, ...]
    """Lower case, absolute without the final dot."""
    ports: tuple[PortRange, ...]
    targets: tuple[Target, ...]
    gateways: tuple[str, ...]
    """Gateway regions in order of preference."""
    redundancy: Policy
    mode: ServiceMode
    check: HealthCheck
    fallback: Fallback = Fallback.ALL
    proxy: ProxySettings | None = None
    """There when the mode is ``proxy``."""
    cookie_at: CookiePlace = CookiePlace.GATEWAY

    @property
    def copies(self) -> int:
        """Of each packet, when nothing is wrong."""
        return copies_wanted(self.redundancy)


@dataclass(frozen=True, slots=True)
class Vip:
    """The address by which clients of one edge node know one application."""

    edge: str
    application: str
    address: IPAddress


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    """A record that is the same for every client."""

    owner: str
    """Lower case, without the final dot; may begin with ``*.``."""
    kind: int
    ttl: int
    data: bytes
    """Wire form, names in full."""


@dataclass(frozen=True, slots=True)
class DnsZone:
    name: str
    """Lower case, without the final dot."""
    ttl: int
    """Seconds."""
    contact: str
    """Mail address as a domain name (RFC 1035 3.3.13 RNAME)."""
    records: tuple[ZoneRecord, ...] = ()
    """What the zone holds besides applications and name servers."""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """How DNS nodes answer; the same for all of them."""

    version: str = "Braid"
    """Answer to CH TXT version.bind; empty refuses."""
    identity: bool = True
    """Whether id.server and NSID give the node's name."""
    client_subnet: ClientSubnetUse = ClientSubnetUse.PUBLIC
    reverse: bool = True
    """Whether PTR records of the VIP pools are served."""
    responses_per_second: int = 200
    """Per client prefix over UDP without a valid cookie; 0 is no limit."""
    slip: int = 2
    """Every which limited answer is sent truncated instead of not at all; 0 is none."""
    geo_database: str = ""
    """File in MaxMind DB format, relative to the topology file; empty without one."""
    cookie_secrets: tuple[bytes, ...] = ()
    """16 bytes each (RFC 9018): the first makes cookies, all are accepted; empty lets every node draw its own."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """From when on a link or path counts as bad, when as good again, and what another choice of paths must gain.

    Shares are 0 to 1, times seconds. The defaults are those of Spines (Babay et al., ICDCS 2017).
    """

    loss_bad: float = 0.02
    loss_good: float = 0.005
    delay_bad: float = 0.25
    """By this share of what is normal, and by at least ``delay_bad_ms``, above it."""
    delay_bad_ms: float = 5.0
    delay_good: float = 0.15
    delay_good_ms: float = 3.0
    hold: float = 30.0
    """Bad news counts at once, good news when it has held for so long."""
    longest_hold: float = 300.0
    """The hold doubles up to this for what gets bad again soon after it got better."""
    gain: float = 0.1
    """Paths are changed for others that cost less by this share, and by at least ``gain_ms``."""
    gain_ms: float = 3.0


@dataclass(frozen=True, slots=True)
class LabNetwork:
    """A segment that is not underlay: clients in front of an edge, target servers behind gateways."""

    name: str
    prefixes: tuple[IPNetwork, ...]
    members: dict[str, tuple[IPAddress, ...]]
    """Node or lab host -> its addresses on the segment."""


@dataclass(frozen=True, slots=True)
class LabHost:
    """A machine without Braid: a client (uses Braid's DNS) or an origin (runs the lab's HTTP server)."""

    name: str
    kind: str
    """"client" or "origin"."""


@dataclass(frozen=True, slots=True)
class Lab:
    underlay: tuple[IPNetwork, ...] = ()
    networks: tuple[LabNetwork, ...] = ()
    hosts: tuple[LabHost, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    name: str
    regions: dict[str, Region]
    nodes: dict[str, Node]
    links: tuple[Link, ...]
    applications: dict[str, Application]
    vips: tuple[Vip, ...]
    zone: DnsZone
    lab: Lab = field(default_factory=Lab)
    dns: DnsSettings = DnsSettings()
    health: HealthSettings = HealthSettings()
    transfers: tuple[TransferRow, ...] = ()
    drains: tuple[DrainRow, ...] = ()
    """Which requests' connections are offered to content proxies; the first row that holds."""
    _by_number: dict[int, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_number", {node.number: node for node in reversed(self.nodes.values())})

    def nodes_of(self, region: str) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes.values() if node.region == region)

    def by_role(self, role: Role) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes.values() if node.role is role)

    def by_number(self, number: int) -> Node | None:
        return self._by_number.get(number)
