"""Knot's kdig as a second reader of the same answers: what dig is not asked, over UDP and TCP, IPv4 and IPv6."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.dns.served import HOSTS, TRANSPORTS, everything, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dns.answer import Transport
    from dns.node import DnsService

KDIG = shutil.which("kdig")
Z = "apps.example"
pytestmark = pytest.mark.skipif(KDIG is None, reason="kdig is not installed: make test installs it")

ROWS = [
    ("SOA", f"+noedns SOA {Z}", ("status: NOERROR", "Flags: qr aa rd;", "SOA\tns1.apps.example."), ("EDNS",)),
    ("NSID", f"+nsid SOA {Z}", ("ANSWER: 1;", '"dns-1"', "UDP size: 1232 B"), ()),
    ("cookie", f"+cookie A shop.{Z}", ("COOKIE: ", "10.91.3.130"), ("BADCOOKIE",)),
    ("subnet", f"+subnet=1.2.3.0/24 A shop.{Z}", ("CLIENT-SUBNET: 1.2.3.0/24/24", "10.91.2.130"), ()),
    ("subnet 6", f"+subnet=2a00:1:2::/56 AAAA shop.{Z}", ("CLIENT-SUBNET: 2a00:1:2::/56/1", "fd91:3::1:1"), ()),
    ("version 1", f"+edns=1 SOA {Z}", ("status: BADVERS", "ANSWER: 0;", "Version: 0;"), ("\tSOA\tns1",)),
    ("unknown option", f"+ednsopt=65001:abcd A shop.{Z}", ("status: NOERROR", "10.91.3.130"), ("65001",)),
    ("padding", f"+padding=64 A shop.{Z}", ("status: NOERROR", "10.91.3.130"), ("PADDING",)),
    ("flags", f"+zflag +tcflag +raflag +adflag +cdflag +ignore SOA {Z}", ("Flags: qr aa rd;", "\tSOA\tns1"), ()),
    ("HTTPS", f"HTTPS shop.{Z}", ("HTTPS\t1 . alpn=h2,h3",), ("ipv4hint",)),
    ("unknown type", f"TYPE65280 shop.{Z}", ("status: NOERROR", "ANSWER: 0;", "AUTHORITY: 1;", "\t30\tIN\tSOA"), ()),
    ("nxdomain", f"A nosuch.{Z}", ("status: NXDOMAIN", "AUTHORITY: 1;", "\t30\tIN\tSOA"), ()),
    ("alias", f"A static.{Z}", ("ANSWER: 2;", "CNAME\ta.ent.apps.example.", "192.0.2.1"), ()),
    ("wildcard", f"A a.b.wild.{Z}", ("a.b.wild.apps.example.", "192.0.2.2"), ()),
    ("pointer", "-x fd91:1::1:1", ("PTR\tshop.apps.example.",), ()),
    ("chaos", "-c CH TXT id.server.", ('"dns-1"', "Flags: qr rd;"), ()),
    ("other zone", "A www.example.org", ("status: REFUSED", "ANSWER: 0;", "AUTHORITY: 0;"), ()),
]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[int, DnsService]]:
    with served(everything()) as found:
        yield found


def kdig(host: str, port: int, *words: str) -> str:
    command = [str(KDIG), f"@{host}", "-p", str(port), "+retry=0", "+timeout=10", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("name", "asked", "has", "lacks"), ROWS, ids=[row[0] for row in ROWS])
def test_row(
    server: tuple[int, DnsService],
    host: str,
    transport: Transport,
    name: str,
    asked: str,
    has: tuple[str, ...],
    lacks: tuple[str, ...],
) -> None:
    text = kdig(host, server[0], "+tcp" if transport == "tcp" else "+notcp", *asked.split())
    for word in has:
        assert word in text, (name, text)
    for word in (*lacks, "malformed"):
        assert word not in text, (name, text)


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_truncated_is_asked_for_again_over_tcp(server: tuple[int, DnsService], host: str) -> None:
    short = kdig(host, server[0], "+bufsize=512", "+ignore", "TXT", f"big.{Z}")
    assert "Flags: qr aa tc rd; QUERY: 1; ANSWER: 0;" in short
    assert "UDP size: 1232 B" in short
    whole = kdig(host, server[0], "+bufsize=512", "TXT", f"big.{Z}")
    assert "Flags: qr aa rd; QUERY: 1; ANSWER: 10;" in whole
    assert "retrying over TCP" in whole


@pytest.mark.parametrize("host", HOSTS)
def test_one_connection_for_all(host: str) -> None:
    with served(everything(), (host,)) as (port, service):
        text = kdig(host, port, "+tcp", "+keepopen", "A", f"shop.{Z}", "AAAA", f"shop.{Z}", "NS", f"shop.{Z}")
        assert len(re.findall("status: NOERROR", text)) == 3
    assert service.counters.closed.total() == 1


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("asked", ["AXFR", "IXFR=1"])
def test_no_transfers(server: tuple[int, DnsService], host: str, asked: str) -> None:
    text = kdig(host, server[0], asked, Z)
    assert "'REFUSED'" in text
    assert "\tSOA\t" not in text
