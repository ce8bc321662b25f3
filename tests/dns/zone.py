"""A small zone: three edges, two applications, two name servers; and a client whose codec is dnslib."""

from __future__ import annotations

import socket
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from dnslib import CLASS, EDNS0, QTYPE, DNSHeader, DNSQuestion, DNSRecord

from braid.messages import ApplicationReport, EdgeReport
from dns.answer import Responder, Transport
from dns.config import DnsConfig, Edge, NameServer
from dns.cookies import Cookies
from dns.counters import Counters
from dns.health import HealthTable
from dns.limit import RateLimiter
from dns.sockets import packed_address
from dns.view import View, make_view
from dns.watch import Watch
from topology.model import DnsZone, SocketAddress
from topology.zonefile import parse_record

if TYPE_CHECKING:
    from collections.abc import Iterable

FRA, NYC, ANY = 11, 12, 13
CONFIG = DnsConfig(
    node="dns-1",
    listen=(SocketAddress(ip_address("127.0.0.1"), 0),),
    zone=DnsZone("apps.example", 30, "hostmaster.apps.example"),
    servers=(
        NameServer("ns1.apps.example", (ip_address("10.91.1.53"), ip_address("fd91:1::53"))),
        NameServer("ns2.apps.example", (ip_address("10.91.2.53"),)),
    ),
    edges=(
        Edge("edge-fra-1", FRA, (ip_network("10.91.1.0/24"), ip_network("fd91:1::/64"))),
        Edge("edge-nyc-1", NYC, (ip_network("10.91.2.0/24"),)),
        Edge("edge-any-1", ANY, ()),
    ),
    hosts={"shop.apps.example": "shop", "a.deep.apps.example": "deep", "wide.apps.example": "wide"},
    vips={
        (0, "shop"): (ip_address("10.91.1.130"), ip_address("fd91:1::1:1")),
        (1, "shop"): (ip_address("10.91.2.130"), ip_address("fd91:2::1:1")),
        (2, "shop"): (ip_address("10.91.3.130"), ip_address("fd91:3::1:1")),
        (2, "deep"): (ip_address("10.91.3.131"),),
        (2, "wide"): tuple(ip_address(f"10.92.{i // 250}.{i % 250 + 1}") for i in range(100)),
    },
)
APPLICATIONS = ("shop", "deep", "wide")


RECORDS = (
    '@ CAA 0 issue "ca.example"',
    "shop HTTPS 1 . alpn=h2,h3",
    "a.ent 60 A 192.0.2.1",
    "*.wild 60 A 192.0.2.2",
    "alias CNAME shop",
    "static 60 CNAME a.ent",
    "outside CNAME www.example.org.",
    "*.dev CNAME shop",
    *(f"big 60 TXT {'x' * 200}{position}" for position in range(10)),
)
"""Extra records; together with ``CONFIG`` everything that a zone may hold."""
FULL = replace(
    CONFIG,
    zone=replace(CONFIG.zone, records=tuple(parse_record(line, CONFIG.zone.name, 30) for line in RECORDS)),
    vip_pools=(ip_network("10.91.1.128/28"), ip_network("10.91.2.0/24"), ip_network("fd91:1::1:0/112")),
)


def report(sequence: int, *, ready: bool = True, draining: bool = False, usable: int = 2) -> EdgeReport:
    return EdgeReport(sequence, ready, draining, tuple(ApplicationReport(name, usable, 0) for name in APPLICATIONS))


def view_of(config: DnsConfig, health: HealthTable, now: float) -> View:
    return make_view(config, Watch().standings(config, health, frozenset(), now))


def view_with(up: Iterable[int] = (FRA, NYC, ANY), draining: Iterable[int] = ()) -> View:
    """A view in which these edges have just reported; the others have been silent for long."""
    health = HealthTable()
    for edge in (FRA, NYC, ANY):
        health.receive_report(edge, report(1), 0.0)
    for edge in up:
        health.receive_report(edge, report(2, draining=edge in set(draining)), 100.0)
    pairs = {pair: health.standing(CONFIG.edges[pair[0]].number, pair[1], 100.0) for pair in CONFIG.vips}
    return make_view(CONFIG, pairs)


def query(
    name: str, kind: str = "A", *, edns: int | None = None, version: int = 0, do: bool = False, **header: Any
) -> bytes:
    qtype = int(kind[4:]) if kind.startswith("TYPE") else getattr(QTYPE, kind)
    record = DNSRecord(
        header=DNSHeader(id=header.pop("id", 0x1234), rd=0, **header), questions=[DNSQuestion(name, qtype, CLASS.IN)]
    )
    if edns is not None:
        record.add_ar(EDNS0(udp_len=edns, version=version, flags="do" if do else ""))
    return bytes(record.pack())


SECRET = bytes.fromhex("e5e973e5a6b2a43f48e7dc849e37bfcf")
UNIX = 1_800_000_000


def responder(view: View | None = None, counters: Counters | None = None, *, per_second: int = 0) -> Responder:
    """Without a rate limit unless one is given."""
    view = view or view_with()
    limiter = RateLimiter(per_second, view.config.settings.slip)
    return Responder(view, Cookies([SECRET]), limiter, counters if counters is not None else Counters(), tcp_idle=10.0)


def respond(data: bytes, client: str, transport: Transport, view: View, counters: Counters) -> bytes | None:
    return responder(view, counters).respond(data, packed_address(client), transport, 0.0, UNIX)


def ask(
    data: bytes,
    client: str = "10.91.1.10",
    transport: Transport = "udp",
    view: View | None = None,
    counters: Counters | None = None,
) -> DNSRecord:
    answer = respond(data, client, transport, view or view_with(), counters if counters is not None else Counters())
    assert answer is not None
    return DNSRecord.parse(answer)


def addresses(raw: bytes) -> list[str]:
    return [str(record.rdata) for record in DNSRecord.parse(raw).rr]


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as stream, socket.socket(family, socket.SOCK_DGRAM) as datagram:
            stream.bind((host, 0))
            try:
                datagram.bind((host, stream.getsockname()[1]))
            except OSError:
                continue
            return int(stream.getsockname()[1])


def make_full_view() -> View:
    return view_of(FULL, HealthTable(), 0.0)
