"""The table of what resolvers, testers of name servers (RFC 8906, Zonemaster) and people ask, on real sockets by dig:
over UDP and TCP, IPv4 and IPv6."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.dns.digging import DIG, Row, check, dig
from tests.dns.served import HOSTS, everything, served

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.skipif(DIG is None, reason="dig is not installed: make setup")

Z = "apps.example"
N = "+noedns +noad +norec"
E = "+edns=0 +nocookie +noad +norec"
V1 = f"{E} +edns=1 +noednsneg"
SOA = ("SOA",)
V4, V6 = "10.91.3.130", "fd91:3::1:1"

PLAIN = [
    Row("A1 dns", f"{N} SOA {Z}", answer=SOA, opt=None),
    Row("A2 aa", f"{N} +aaflag SOA {Z}", answer=SOA, opt=None),
    Row("A3 ad", f"+noedns +norec +ad SOA {Z}", answer=SOA, opt=None),
    Row("A4 cd", f"{N} +cd SOA {Z}", answer=SOA, opt=None),
    Row("A5 ra", f"{N} +raflag SOA {Z}", answer=SOA, opt=None),
    Row("A6 rd", f"+noedns +noad +rec SOA {Z}", flags="qr aa rd", answer=SOA, opt=None),
    Row("A7 tc", f"{N} +tcflag +ignore SOA {Z}", answer=SOA, opt=None),
    Row("A8 zflag", f"{N} +zflag SOA {Z}", answer=SOA, opt=None),
    Row("A9 opcode", f"{N} +header-only +opcode=15", "NOTIMP", "qr", opt=None, has=("QUERY: 0,", "RESERVED15")),
    Row(
        "A10 opcodeflg",
        "+noedns +header-only +opcode=15 +tcflag +rec +raflag +cd +ad +aaflag +zflag +ignore",
        "NOTIMP",
        "qr",
        opt=None,
        has=("QUERY: 0,", "RESERVED15"),
    ),
    Row("A11 type666", f"{N} TYPE666 {Z}", authority=SOA, opt=None),
    Row("A12 type1000", f"{N} TYPE1000 {Z}", authority=SOA, opt=None),
]
EDNS = [
    Row("B1 edns", f"{E} SOA {Z}", answer=SOA, opt="flags:; udp"),
    Row("B2 edns1", f"{V1} SOA {Z}", "BADVERS", "qr"),
    Row(
        "B3 edns@512", f"{E} +dnssec +ignore +bufsize=512 TXT big.{Z}", flags="qr aa tc", opt="do", size=512, only="udp"
    ),
    Row("B4 noedns-trunc", f"{N} +ignore TXT big.{Z}", flags="qr aa tc", opt=None, size=512, only="udp"),
    Row("B5 trunc-tcp", f"+norec +nocookie +bufsize=512 TXT big.{Z}", answer=("TXT",) * 10, size=4096),
    Row("B6 ednsopt", f"{E} +ednsopt=100 SOA {Z}", answer=SOA, lacks=("OPT=100",)),
    Row("B7 edns1opt", f"{V1} +ednsopt=100 SOA {Z}", "BADVERS", "qr", lacks=("OPT=100",)),
    Row("B8 ednsflags", f"{E} +ednsflags=0x0080 SOA {Z}", answer=SOA),
    Row("B9 edns1flags", f"{V1} +ednsflags=0x40 SOA {Z}", "BADVERS", "qr"),
    Row("B10 do", f"{E} +dnssec SOA {Z}", answer=SOA, opt="flags: do"),
    Row("B10 docd", f"{E} +dnssec +cd SOA {Z}", answer=SOA, opt="flags: do"),
    Row("B11 edns1do", f"{V1} +dnssec SOA {Z}", "BADVERS", "qr", opt="flags: do"),
    Row(
        "B12 optlist",
        f"+edns=0 +noad +norec +nsid +subnet=0.0.0.0/0 +expire +cookie=0102030405060708 SOA {Z}",
        answer=SOA,
        has=("NSID:", "CLIENT-SUBNET: 0.0.0.0/0/0", "COOKIE: 0102030405060708"),
        lacks=("EXPIRE",),
    ),
    Row("B13 ednsexpire", f"{E} +expire SOA {Z}", answer=SOA, lacks=("EXPIRE",)),
    Row("B14 ednstcp", f"{E} +dnssec +bufsize=512 +tcp TXT big.{Z}", answer=("TXT",) * 10, size=4096, only="tcp"),
    Row("B15 tiny bufsize", f"+norec +nocookie +bufsize=100 +ignore TXT big.{Z}", flags="qr aa tc", only="udp"),
    Row("B16 bind11", f"+edns=0 +cookie=0102030405060708 +noad +norec +dnssec SOA {Z}", answer=SOA),
    Row("B16 dig11", f"+edns=0 +cookie=0102030405060708 +ad +rec +dnssec SOA {Z}", flags="qr aa rd", answer=SOA),
    Row("B17 cap", f"{E} +bufsize=4096 +ignore TXT big.{Z}", flags="qr aa tc", only="udp"),
]
A_SHOP = f"+norec +nocookie A shop.{Z}"
SUBNET = [
    Row("C1", f"{A_SHOP} +subnet=1.2.3.0/24", answer=("10.91.2.130",), opt="CLIENT-SUBNET: 1.2.3.0/24/24"),
    Row("C1 wider", f"{A_SHOP} +subnet=192.88.98.0/24", answer=(V4,), opt="CLIENT-SUBNET: 192.88.98.0/24/1"),
    Row("C2", f"{A_SHOP} +subnet=2a00:1:1::/56", answer=(V4,), opt="CLIENT-SUBNET: 2a00:1:1::/56/1"),
    Row("C3", f"{A_SHOP} +subnet=0.0.0.0/0", answer=(V4,), opt="CLIENT-SUBNET: 0.0.0.0/0/0"),
    Row("C4", A_SHOP, answer=(V4,), lacks=("CLIENT-SUBNET",)),
    Row("C5", f"+norec +nocookie SOA {Z} +subnet=1.2.3.0/24", answer=SOA, opt="CLIENT-SUBNET: 1.2.3.0/24/0"),
    Row(
        "C6 nxdomain",
        f"+norec +nocookie A nosuch.{Z} +subnet=1.2.3.0/24",
        "NXDOMAIN",
        authority=SOA,
        opt="CLIENT-SUBNET: 1.2.3.0/24/0",
    ),
    Row(
        "C6 nodata",
        f"+norec +nocookie AAAA wide.{Z} +subnet=1.2.3.0/24",
        authority=SOA,
        opt="CLIENT-SUBNET: 1.2.3.0/24/0",
    ),
    Row("C7 private", f"{A_SHOP} +subnet=10.91.1.0/24", answer=(V4,), opt="CLIENT-SUBNET: 10.91.1.0/24/0"),
    *(
        Row(f"{name} malformed", f"{A_SHOP} +ednsopt=8:{content}", "FORMERR", "qr", lacks=("CLIENT-SUBNET",))
        for name, content in (
            ("C8", "002a0000"),
            ("C9", "00012100c0000200"),
            ("C10", "00028100" + "00" * 17),
            ("C11", "00012000c00002"),
            ("C12", "00011800c0000201"),
            ("C13", "00011f00c0000201"),
            ("C14", "00011801c00002"),
            ("C15", "01"),
        )
    ),
    Row("C16", f"{A_SHOP} +ednsopt=8:00000000", answer=(V4,)),
]
COOKIE = "+norec +cookie=0102030405060708"
OPTIONS = [
    Row("D1", f"{COOKIE} A shop.{Z}", answer=(V4,), opt="COOKIE: 010203040506070801000000", has=("(good)",)),
    *(
        Row(
            f"D2 {length}",
            f"+norec +nocookie +ednsopt=10:{'01' * length} A shop.{Z}",
            "FORMERR",
            "qr",
            lacks=("COOKIE",),
        )
        for length in (7, 9, 15, 41)
    ),
    Row("D4 nsid", f"{E} +nsid SOA {Z}", answer=SOA, opt='NSID: 64 6e 73 2d 31 ("dns-1")'),
    Row("D4 data", f"{E} +ednsopt=3:6162 SOA {Z}", answer=SOA, opt='("dns-1")'),
    Row("D5 tcp", f"+tcp +keepalive +norec +nocookie SOA {Z}", answer=SOA, opt="TCP KEEPALIVE: 10.0 secs", only="tcp"),
    Row("D5 udp", f"+keepalive +norec +nocookie SOA {Z}", answer=SOA, lacks=("KEEPALIVE",), only="udp"),
]
D = "+norec +nocookie"
DATA = [
    Row(
        "E1 nxdomain",
        f"{D} A nosuch.{Z}",
        "NXDOMAIN",
        authority=("\t30\tIN\tSOA\tns1.apps.example. hostmaster.apps.example.",),
    ),
    Row("E2 nodata", f"{D} AAAA wide.{Z}", authority=SOA),
    Row("E3 https", f"{D} HTTPS shop.{Z}", answer=('1 . alpn="h2,h3"',), lacks=("ipv4hint",)),
    Row("E3 svcb", f"{D} SVCB shop.{Z}", authority=SOA),
    Row("E3 type65", f"{D} TYPE65 wide.{Z}", authority=SOA),
    Row("E4 ent", f"{D} A ent.{Z}", authority=SOA),
    Row("E5 wild", f"{D} A foo.bar.wild.{Z}", answer=(f"foo.bar.wild.{Z}.",)),
    Row("E6 wild-nodata", f"{D} AAAA foo.wild.{Z}", authority=SOA),
    Row("E7 wild-self", f"{D} A wild.{Z}", authority=SOA),
    Row("E8 cname steered", f"{D} A alias.{Z}", answer=("CNAME\tshop",)),
    Row("E8 cname static", f"{D} A static.{Z}", answer=("CNAME\ta.ent", "192.0.2.1")),
    Row("E8 cname out", f"{D} A outside.{Z}", answer=("CNAME\twww.example.org.",)),
    Row("E8 wild cname", f"{D} A x.dev.{Z}", answer=(f"x.dev.{Z}.\t30\tIN\tCNAME\tshop",)),
    Row("E9 cname-q", f"{D} CNAME alias.{Z}", answer=("CNAME",)),
    Row("E9 cname-aaaa", f"{D} AAAA static.{Z}", answer=("CNAME",), authority=SOA),
    Row("E9 cname-any", f"{D} +notcp ANY alias.{Z}", answer=("CNAME",), only="udp"),
    Row("E10 ns", f"{D} NS {Z}", answer=("ns1", "ns2"), has=("10.91.1.53", "fd91:1::53", "10.91.2.53")),
    Row("E10 soa", f"{D} SOA {Z}", answer=SOA),
    Row("E10 caa", f"{D} CAA {Z}", answer=("ca.example",)),
    Row("E10 ds", f"{D} DS {Z}", authority=SOA),
    Row("E10 dnskey", f"{D} DNSKEY {Z}", authority=SOA),
    Row("E11 0x20", f"{D} A sHoP.aPPs.eXAmpLE", answer=(V4,), has=(";sHoP.aPPs.eXAmpLE.",)),
    Row("E12 caa", f"{D} CAA shop.{Z}", authority=SOA),
    Row("E13 octets", f"{D} A \\255\\254.{Z}", "NXDOMAIN", authority=SOA),
    Row("E13 dot", f"{D} A a\\.ent.{Z}", "NXDOMAIN", authority=SOA),
    Row("E14 minimal", f"{D} A shop.{Z} +subnet=1.2.3.0/24", answer=("10.91.2.130",), size=100),
    Row("E15 vip6", f"{D} AAAA shop.{Z}", answer=(V6,)),
    Row("E16 ptr", f"{D} -x 10.91.2.130", answer=("shop.apps.example.",)),
    Row("E16 ptr small pool", f"{D} -x 10.91.1.130", answer=("shop.apps.example.",)),
    Row("E16 ptr6", f"{D} -x fd91:1::1:1", answer=("shop.apps.example.",)),
    Row("E16 ptr free", f"{D} -x 10.91.2.1", "NXDOMAIN", authority=("2.91.10.in-addr.arpa.",)),
    Row("E16 ptr soa", f"{D} SOA 2.91.10.in-addr.arpa", answer=SOA),
    Row("E16 ptr neighbour", f"{D} -x 10.91.1.10", "REFUSED", "qr"),
]
REFUSALS = [
    Row("F1", f"{D} A www.example.org", "REFUSED", "qr"),
    Row("F2", f"{D} NS .", "REFUSED", "qr"),
    Row("F5", f"{D} +notcp ANY shop.{Z}", answer=("RFC8482",), only="udp"),
    Row("F6", f"{D} +notcp ANY {Z}", answer=("RFC8482",), size=100, only="udp"),
    Row("F7", f"{D} CH TXT version.bind", flags="qr", answer=('"Braid"',)),
    Row("F7 server", f"{D} CH TXT version.server", flags="qr", answer=('"Braid"',)),
    Row("F8", f"{D} CH TXT id.server", flags="qr", answer=('"dns-1"',)),
    Row("F8 bind", f"{D} CH TXT hostname.bind", flags="qr", answer=('"dns-1"',)),
    Row("F9 ch", f"{D} CH A {Z}", "REFUSED", "qr"),
    Row("F9 hs", f"{D} -q shop.{Z} -t A -c HS", "REFUSED", "qr"),
    Row("F10", f"{D} -q shop.{Z} -t A -c ANY", "REFUSED", "qr"),
    *(
        Row(f"F11 {opcode}", f"{D} +opcode={opcode} SOA {Z}", "NOTIMP", "qr", opt=None, has=("QUERY: 0, ANSWER: 0",))
        for opcode in ("notify", "update", "iquery", "status")
    ),
    *(Row(f"F12 {kind}", f"{D} {kind} {Z}", authority=SOA) for kind in ("TYPE41", "TYPE253", "TYPE254")),
]
ROWS = [
    (row, transport)
    for row in (*PLAIN, *EDNS, *SUBNET, *OPTIONS, *DATA, *REFUSALS)
    for transport in ("udp", "tcp")
    if row.only in ("", transport)
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(everything()) as (number, _):
        yield number


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(("row", "transport"), ROWS, ids=str)
def test_row(port: int, host: str, transport: str, row: Row) -> None:
    check(row, dig(host, port, f"{'+tcp ' if transport == 'tcp' else ''}{row.arguments}"))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("arguments", ["+tcp AXFR", "+tcp IXFR=1"])
def test_no_transfers(port: int, host: str, arguments: str) -> None:
    """F3, F4: dig prints no header of a transfer that is refused, so its word must do; UDP is in ``test_wire``."""
    assert DIG is not None
    command = [DIG, f"@{host}", "-p", str(port), "+tries=1", "+time=10", *D.split(), *arguments.split(), Z]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    assert "Transfer failed" in text or "REFUSED" in text
    assert "\tSOA\t" not in text
