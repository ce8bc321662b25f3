"""A small zone: three edges, two applications, two name servers; and a client whose codec is dnslib."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from dnslib import CLASS, EDNS0, QTYPE, DNSHeader, DNSQuestion, DNSRecord

from braid.messages import ApplicationReport, EdgeReport
from dns.answer import Transport, respond
from dns.config import DnsConfig, Edge, NameServer
from dns.counters import Counters
from dns.health import HealthTable
from dns.view import View, make_view
from topology.model import DnsZone, SocketAddress

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


def report(sequence: int, *, ready: bool = True, draining: bool = False, usable: int = 2) -> EdgeReport:
    return EdgeReport(sequence, ready, draining, tuple(ApplicationReport(name, usable, 0) for name in APPLICATIONS))


def view_with(up: Iterable[int] = (FRA, NYC, ANY), draining: Iterable[int] = ()) -> View:
    """A view in which these edges have just reported; the others have been silent for long."""
    health = HealthTable()
    for edge in (FRA, NYC, ANY):
        health.receive_report(edge, report(1), 0.0)
    for edge in up:
        health.receive_report(edge, report(2, draining=edge in set(draining)), 100.0)
    return make_view(CONFIG, health, 100.0)


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
