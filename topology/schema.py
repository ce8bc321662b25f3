"""The shape of a topology file: which keys there are, their types, limits and defaults.

What needs more than one key to be judged is in ``topology.rules``. Every message carries its own remedy.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from topology.model import CheckKind, ClientSubnetUse, CookiePlace, Fallback, ServiceMode
from topology.numbers import MAX_NODES
from topology.proxy import ServerPolicy
from topology.tls import TlsVersion
from topology.transfer import METHODS, HashedBy, ProxyPolicy, TransferMode
from topology.values import (
    MIN_MTU,
    UDP_PORT,
    Address,
    CheckName,
    ClientAddressName,
    ContentAddress,
    ContentTlsAddress,
    CookiePlaceName,
    Cost,
    Directory,
    DnsAddress,
    FallbackName,
    HashedByName,
    Hostname,
    Label,
    ModeName,
    Moment,
    Name,
    Place,
    PolicyName,
    Port,
    Ports,
    PowerDnsAddress,
    Prefix,
    ProxyPolicyName,
    Record,
    RoleName,
    Seconds,
    Secret,
    Share,
    StatusAddress,
    SubnetUse,
    TlsVersionName,
    TransferModeName,
    UrlPath,
)


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ZoneShape(Shape):
    name: Hostname
    ttl: int = Field(default=30, ge=0, le=86400)
    contact: Hostname | None = None
    records: tuple[Record, ...] = ()


class DnsShape(Shape):
    version: Label = "Braid"
    identity: bool = True
    client_subnet: SubnetUse = ClientSubnetUse.PUBLIC
    reverse: bool = True
    responses_per_second: int = Field(default=200, ge=0, le=1_000_000)
    slip: int = Field(default=2, ge=0, le=10)
    geo_database: Label = ""
    cookie_secrets: tuple[Secret, ...] = Field(default=(), max_length=4)


class HealthShape(Shape):
    loss_bad: Share = 0.02
    loss_good: Share = 0.005
    delay_bad: Share = 0.25
    delay_bad_ms: Cost = 5.0
    delay_good: Share = 0.15
    delay_good_ms: Cost = 3.0
    hold: Seconds = 30.0
    longest_hold: Seconds = 300.0
    gain: Share = 0.1
    gain_ms: Cost = 3.0


class RegionShape(Shape):
    role: RoleName
    place: Label = ""
    provider: Name | None = None
    shared_risk: tuple[Name, ...] = ()
    price: Cost = 0.0
    location: Place | None = None
    cookie_secret: Secret | None = None


class CertificateShape(Shape):
    certificate: Label = Field(min_length=1)
    key: Label = Field(min_length=1)


class TlsShape(Shape):
    certificates: tuple[CertificateShape, ...] = Field(min_length=1, max_length=1000)
    minimum: TlsVersionName = TlsVersion.TLS_1_2
    alpn: tuple[Label, ...] | None = None


class ContentTlsShape(TlsShape):
    listen: tuple[ContentTlsAddress, ...] = Field(default=(), max_length=16)


class ContentShape(Shape):
    listen: tuple[ContentAddress, ...] = Field(min_length=1, max_length=16)
    directory: Directory
    applications: tuple[Name, ...] = Field(min_length=1)
    edges: tuple[Name, ...] | None = Field(default=None, min_length=1)
    size_mb: int = Field(default=1000, ge=10, le=1_000_000_000)
    largest_mb: int = Field(default=100, ge=1, le=100_000_000)
    connections: int = Field(default=1000, ge=1, le=1_000_000)
    tls: ContentTlsShape | None = None
    origin_ca: Label = ""


class NodeShape(Shape):
    region: Name
    underlay: tuple[Address, ...] = Field(min_length=1, max_length=2)
    number: int | None = Field(default=None, ge=1, le=MAX_NODES)
    port: Port = UDP_PORT
    shards: int = Field(default=1, ge=1, le=16)
    status: StatusAddress | None = None
    mtu: int = Field(default=1500, ge=MIN_MTU, le=65535)
    serves: tuple[Prefix, ...] = ()
    weight: int | None = Field(default=None, ge=1, le=65535)
    capacity: int | None = Field(default=None, ge=1, le=10_000_000)
    vip_pools: tuple[Prefix, ...] = ()
    snat_pools: tuple[Prefix, ...] = ()
    dns_listen: tuple[DnsAddress, ...] = ()
    powerdns: PowerDnsAddress | None = None
    content: ContentShape | None = None


class LinkShape(Shape):
    between: tuple[Name, Name]
    cost: Cost = 1.0


class TargetShape(Shape):
    address: Address
    port: Port | None = None
    weight: int = Field(default=1, ge=1, le=65535)


class CheckShape(Shape):
    kind: CheckName = CheckKind.NONE
    port: Port | None = None
    path: UrlPath = "/"
    interval: Seconds = 2.0
    timeout: Seconds = 1.0
    rise: int = Field(default=2, ge=1, le=100)
    fall: int = Field(default=2, ge=1, le=100)


class RuleShape(Shape):
    servers: tuple[Label, ...] = Field(min_length=1)
    methods: tuple[Label, ...] = ()
    hosts: tuple[Label, ...] = ()
    sni: tuple[Label, ...] = ()
    path: UrlPath | None = None
    path_regex: Label = ""
    headers: dict[Label, Label] = {}
    cookies: dict[Label, Label] = {}
    query: dict[Label, Label] = {}
    alpn: tuple[Label, ...] = ()
    clients: tuple[Prefix, ...] = ()
    regions: tuple[Name, ...] = ()


class ProxyShape(Shape):
    kind: Label
    policy: PolicyName = ServerPolicy.ROUND_ROBIN
    hash: Label = "client"
    sticky: Label = "none"
    rules: tuple[RuleShape, ...] = Field(default=(), max_length=1000)
    tls: TlsShape | None = None
    client_address: ClientAddressName | None = None
    retries: int = Field(default=1, ge=0, le=5)
    select_timeout: Seconds = 5.0
    connect_timeout: Seconds = 2.0
    answer_timeout: Seconds = 30.0
    idle_timeout: Seconds = 300.0
    buffer: int = Field(default=262_144, ge=16_384, le=16_777_216)
    pool: int = Field(default=256, ge=0, le=10_000)
    pool_timeout: Seconds = 10.0
    splice_above: int | None = Field(default=None, ge=65_536, le=1 << 40)
    connections: int = Field(default=10_000, ge=1, le=1_000_000)
    eject_after: int = Field(default=5, ge=0, le=1000)
    eject_time: Seconds = 30.0
    panic: Share = 0.5
    access_log: bool = True


class ApplicationShape(Shape):
    hostnames: tuple[Hostname, ...] = Field(min_length=1)
    ports: tuple[Ports, ...] = Field(min_length=1)
    targets: tuple[TargetShape, ...] = Field(min_length=1)
    gateways: tuple[Name, ...] | None = Field(default=None, min_length=1)
    copies: Any = None
    """This and the next ones are read by ``topology.policy``."""
    target_loss: Any = None
    min_copies: Any = None
    max_copies: Any = None
    budget: Any = None
    deadline: Any = None
    spread: Any = None
    diverse: Any = None
    mode: ModeName = ServiceMode.NAT
    cookie_at: CookiePlaceName = CookiePlace.GATEWAY
    fallback: FallbackName = Fallback.ALL
    check: CheckShape = CheckShape()
    proxy: ProxyShape | None = None


MOST_KB = 4_000_000
"""Of a connection: its sequence numbers begin anew behind 4 GiB."""


class ConnectionShape(Shape):
    least_requests: int | None = Field(default=None, ge=1, le=1_000_000)
    least_received_kb: int | None = Field(default=None, ge=0, le=MOST_KB)
    most_received_kb: int | None = Field(default=None, ge=0, le=MOST_KB)
    least_sent_kb: int | None = Field(default=None, ge=0, le=MOST_KB)
    most_sent_kb: int | None = Field(default=None, ge=0, le=MOST_KB)
    least_window_kb: int | None = Field(default=None, ge=1, le=1_000_000)


class TransferShape(Shape):
    application: Name
    proxies: tuple[Name, ...] = Field(min_length=1, max_length=64)
    policy: ProxyPolicyName = ProxyPolicy.FIRST
    hash: HashedByName = HashedBy.PATH
    mode: TransferModeName = TransferMode.SERVE_OR_ORIGIN
    clients: tuple[Prefix, ...] = ()
    edges: tuple[Name, ...] = ()
    ports: tuple[Ports, ...] = ()
    methods: tuple[Label, ...] = Field(default=METHODS, min_length=1)
    hosts: tuple[Label, ...] = ()
    path: UrlPath | None = None
    sni: tuple[Label, ...] = ()
    alpn: tuple[Label, ...] = ()
    least_kb: int = Field(default=0, ge=0, le=1_000_000_000)
    connection: ConnectionShape | None = None
    until: Moment | None = None


class DrainShape(Shape):
    gateway: Name
    to: Name
    routed: bool = False
    until: Moment | None = None


OFFERS, DRAINS = "[offers]", "[drains]"
"""Kinds of rows, as they stand in the places of errors."""


def _kind_of(row: Any) -> str:
    drains = isinstance(row, DrainShape) or (isinstance(row, dict) and "gateway" in row)
    return DRAINS if drains else OFFERS


RowShape = Annotated[
    Annotated[TransferShape, Tag(OFFERS)] | Annotated[DrainShape, Tag(DRAINS)], Discriminator(_kind_of)
]


class LabNetworkShape(Shape):
    prefixes: tuple[Prefix, ...] = Field(min_length=1, max_length=2)
    members: dict[Name, tuple[Address, ...]] = {}


class LabHostShape(Shape):
    kind: Literal["client", "origin"]


class LabShape(Shape):
    underlay: tuple[Prefix, ...] = Field(default=(), max_length=2)
    networks: dict[Name, LabNetworkShape] = {}
    hosts: dict[Name, LabHostShape] = {}


class Document(Shape):
    braid: Literal[1]
    name: Name
    zone: ZoneShape
    regions: dict[Name, RegionShape] = Field(min_length=1)
    nodes: dict[Name, NodeShape] = Field(min_length=1)
    links: tuple[LinkShape, ...] | None = None
    applications: dict[Name, ApplicationShape] = {}
    lab: LabShape = LabShape()
    dns: DnsShape = DnsShape()
    health: HealthShape = HealthShape()
    transfers: tuple[RowShape, ...] = Field(default=(), max_length=1000)
