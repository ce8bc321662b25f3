"""From the shape of a file to the types every room works on: defaults filled in, numbers and links made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology import schema
from topology.content import MEGABYTE, ContentSettings
from topology.drains import DrainRow
from topology.graph import default_links
from topology.model import (
    Application,
    DnsSettings,
    DnsZone,
    HealthCheck,
    HealthSettings,
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
    SocketAddress,
    Target,
    Topology,
)
from topology.numbers import node_number
from topology.policy import POLICY_KEYS, FixedCopies, Policy, read_policy
from topology.proxy import HTTP, ClientAddress, ProxySettings, Rule
from topology.tls import HTTP_1_1, HTTP_2, Certificate, Tls
from topology.transfer import KILOBYTE, Conditions, TransferRow
from topology.values import STATUS_PORT, socket_address
from topology.zonefile import parse_record

if TYPE_CHECKING:
    from topology.schema import (
        ApplicationShape,
        CheckShape,
        ConnectionShape,
        ContentShape,
        DnsShape,
        Document,
        LabShape,
        NodeShape,
        ProxyShape,
        RuleShape,
        TlsShape,
        TransferShape,
        ZoneShape,
    )


def build(document: Document) -> Topology:
    """A topology without VIPs. The document's references and records must hold (``topology.rules``)."""
    regions = {
        name: Region(
            name=name,
            role=shape.role,
            place=shape.place,
            shared_risk=frozenset(shape.shared_risk),
            provider=shape.provider or "",
            price=shape.price,
            location=shape.location,
            cookie_secret=shape.cookie_secret or b"",
        )
        for name, shape in document.regions.items()
    }
    if document.links is None:
        links = default_links(regions.values())
    else:
        links = tuple(Link(*shape.between, cost=shape.cost) for shape in document.links)
    return Topology(
        name=document.name,
        regions=regions,
        nodes={name: _node(name, shape, document) for name, shape in document.nodes.items()},
        links=links,
        applications={
            name: _application(name, shape, gateway_regions(document, shape))
            for name, shape in document.applications.items()
        },
        vips=(),
        zone=_zone(document.zone),
        lab=_lab(document.lab),
        dns=_dns(document.dns),
        health=HealthSettings(**document.health.model_dump()),
        transfers=tuple(_transfer(shape) for shape in document.transfers if isinstance(shape, schema.TransferShape)),
        drains=tuple(
            DrainRow(shape.gateway, shape.to, shape.routed, shape.until, position)
            for position, shape in enumerate(document.transfers)
            if isinstance(shape, schema.DrainShape)
        ),
    )


def gateway_regions(document: Document, application: ApplicationShape) -> tuple[str, ...]:
    """Those that the file names, else all, in the order of the file."""
    if application.gateways is not None:
        return application.gateways
    return tuple(name for name, region in document.regions.items() if region.role is Role.GATEWAY)


def redundancy(application: ApplicationShape) -> Policy:
    """As the file says, else two copies. ``PolicyError``."""
    written = {key: getattr(application, key) for key in POLICY_KEYS if key in application.model_fields_set}
    return read_policy(written) if written else FixedCopies()


def status_address(node: NodeShape) -> SocketAddress:
    return node.status or SocketAddress(node.underlay[0], STATUS_PORT)


def check_port(application: ApplicationShape) -> int | None:
    """Where a health check connects: as written, else the targets' common port, else the first single TCP port."""
    if application.check.port is not None:
        return application.check.port
    at_targets = {target.port for target in application.targets}
    if len(at_targets) == 1 and (port := at_targets.pop()) is not None:
        return port
    return next((ports.low for ports in application.ports if _is_one_tcp_port(ports)), None)


def _is_one_tcp_port(ports: PortRange) -> bool:
    return ports.protocol is Protocol.TCP and ports.low == ports.high


def edge_regions(document: Document, content: ContentShape) -> tuple[str, ...]:
    """Those that the file names, else all, in the order of the file."""
    if content.edges is not None:
        return content.edges
    return tuple(name for name, region in document.regions.items() if region.role is Role.EDGE)


def _node(name: str, shape: NodeShape, document: Document) -> Node:
    return Node(
        name=name,
        number=node_number(name) if shape.number is None else NodeNumber(shape.number),
        region=shape.region,
        role=document.regions[shape.region].role,
        underlay=shape.underlay,
        port=shape.port,
        shards=shape.shards,
        status=status_address(shape),
        mtu=shape.mtu,
        serves=shape.serves,
        weight=shape.weight or 1,
        capacity=shape.capacity,
        vip_pools=shape.vip_pools,
        snat_pools=shape.snat_pools,
        dns_listen=shape.dns_listen,
        powerdns=shape.powerdns,
        content=None if shape.content is None else _content(shape.content, document),
    )


def _content(shape: ContentShape, document: Document) -> ContentSettings:
    return ContentSettings(
        listen=shape.listen,
        directory=shape.directory,
        applications=shape.applications,
        edges=edge_regions(document, shape),
        size=shape.size_mb * MEGABYTE,
        largest=shape.largest_mb * MEGABYTE,
        connections=shape.connections,
        tls=None if shape.tls is None else _tls(shape.tls, HTTP),
        tls_listen=() if shape.tls is None else shape.tls.listen,
        origin_ca=shape.origin_ca,
    )


def _application(name: str, shape: ApplicationShape, gateways: tuple[str, ...]) -> Application:
    targets = tuple(Target(target.address, target.port, target.weight) for target in shape.targets)
    return Application(
        name=name,
        hostnames=shape.hostnames,
        ports=shape.ports,
        targets=targets,
        gateways=gateways,
        redundancy=redundancy(shape),
        mode=shape.mode,
        fallback=shape.fallback,
        check=_check(shape.check, check_port(shape)),
        proxy=None if shape.proxy is None else _proxy(shape.proxy, targets),
        cookie_at=shape.cookie_at,
    )


def _proxy(shape: ProxyShape, targets: tuple[Target, ...]) -> ProxySettings:
    usual = ClientAddress.FORWARDED if shape.kind == HTTP else ClientAddress.NONE
    plain = shape.model_dump(exclude={"rules", "client_address", "tls"})
    return ProxySettings(
        **plain,
        rules=tuple(_rule(rule, targets) for rule in shape.rules),
        client_address=shape.client_address or usual,
        tls=None if shape.tls is None else _tls(shape.tls, shape.kind),
    )


def _tls(shape: TlsShape, kind: str) -> Tls:
    usual = (HTTP_2, HTTP_1_1) if kind == HTTP else ()
    return Tls(
        certificates=tuple(Certificate(each.certificate, each.key) for each in shape.certificates),
        minimum=shape.minimum,
        alpn=usual if shape.alpn is None else shape.alpn,
    )


def _rule(shape: RuleShape, targets: tuple[Target, ...]) -> Rule:
    return Rule(
        servers=tuple(dict.fromkeys(target for name in shape.servers for target in named(name, targets))),
        methods=shape.methods,
        hosts=tuple(host.lower() for host in shape.hosts),
        sni=tuple(host.lower() for host in shape.sni),
        path=shape.path or "",
        path_regex=shape.path_regex,
        headers=tuple((name.lower(), value) for name, value in shape.headers.items()),
        cookies=tuple(shape.cookies.items()),
        query=tuple(shape.query.items()),
        alpn=shape.alpn,
        clients=shape.clients,
        regions=shape.regions,
    )


def named(name: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """The targets that a rule means: those at an address, or the one at an address and port."""
    try:
        alone = socket_address(name, 1).host
        exact = socket_address(name, 1) == socket_address(name, 2)
        port = socket_address(name, 1).port if exact else None
    except ValueError:
        return ()
    return tuple(each for each in targets if each.address == alone and (port is None or each.port == port))


def _check(shape: CheckShape, port: int | None) -> HealthCheck:
    return HealthCheck(
        kind=shape.kind,
        port=port or 0,
        path=shape.path,
        interval=shape.interval,
        timeout=shape.timeout,
        rise=shape.rise,
        fall=shape.fall,
    )


def _transfer(shape: TransferShape) -> TransferRow:
    plain = shape.model_dump(exclude={"hosts", "sni", "path", "least_kb", "ports", "connection"})
    return TransferRow(
        **plain,
        ports=shape.ports,
        hosts=tuple(host.lower() for host in shape.hosts),
        sni=tuple(name.lower() for name in shape.sni),
        path=shape.path or "",
        least=shape.least_kb * KILOBYTE,
        connection=None if shape.connection is None else _conditions(shape.connection),
    )


def _conditions(shape: ConnectionShape) -> Conditions:
    written = shape.model_dump(exclude_none=True)
    return Conditions(
        **{
            word.removesuffix("_kb"): value * KILOBYTE if word.endswith("_kb") else value
            for word, value in written.items()
        }
    )


def _zone(shape: ZoneShape) -> DnsZone:
    records = tuple(parse_record(text, shape.name, shape.ttl) for text in shape.records)
    return DnsZone(shape.name, shape.ttl, shape.contact or f"hostmaster.{shape.name}", records)


def _dns(shape: DnsShape) -> DnsSettings:
    return DnsSettings(
        version=shape.version,
        identity=shape.identity,
        client_subnet=shape.client_subnet,
        reverse=shape.reverse,
        responses_per_second=shape.responses_per_second,
        slip=shape.slip,
        geo_database=shape.geo_database,
        cookie_secrets=shape.cookie_secrets,
    )


def _lab(shape: LabShape) -> Lab:
    return Lab(
        underlay=shape.underlay,
        networks=tuple(
            LabNetwork(name, network.prefixes, dict(network.members)) for name, network in shape.networks.items()
        ),
        hosts=tuple(LabHost(name, host.kind) for name, host in shape.hosts.items()),
    )
