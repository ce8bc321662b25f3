"""Extra records: lines of a zone file to wire form, and which of them a zone may hold."""

from __future__ import annotations

import pytest
from dnslib import RR, DNSBuffer
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.base import TEXT, changed
from topology.model import ClientSubnetUse, DnsSettings, Topology, ZoneRecord
from topology.problem import TopologyError
from topology.source import parse
from topology.zonefile import RecordError, parse_record

ZONE = "apps.example"


@pytest.mark.parametrize(
    ("line", "owner", "kind", "ttl", "data"),
    [
        ("www A 192.0.2.1", "www.apps.example", 1, 30, "c0000201"),
        ("@ 300 IN AAAA 2001:db8::1", "apps.example", 28, 300, "20010db8" + "00" * 11 + "01"),
        ("*.Dev CNAME Shop", "*.dev.apps.example", 5, 30, "0473686f700461707073076578616d706c6500"),
        ("a.apps.example. CNAME @", "a.apps.example", 5, 30, "0461707073076578616d706c6500"),
        ('t TXT "a b" c', "t.apps.example", 16, 30, "036120620163"),
        ('@ CAA 0 issue "ca.example"', "apps.example", 257, 30, "00056973737565" + b"ca.example".hex()),
        (
            "_sip._udp SRV 1 2 5060 sip.example.",
            "_sip._udp.apps.example",
            33,
            30,
            "0001000213c403736970076578616d706c6500",
        ),
        ("m MX 10 mail.example.", "m.apps.example", 15, 30, "000a046d61696c076578616d706c6500"),
        ("h HTTPS 1 . port=443 alpn=h2,h3", "h.apps.example", 65, 30, "000100000100060268320268330003000201bb"),
        ("s SVCB 0 x.example.", "s.apps.example", 64, 30, "00000178076578616d706c6500"),
        ("u TYPE65280 \\# 3 0a0b 0c", "u.apps.example", 65280, 30, "0a0b0c"),
        ("c A 192.0.2.1 ; a comment", "c.apps.example", 1, 30, "c0000201"),
    ],
)
def test_lines(line: str, owner: str, kind: int, ttl: int, data: str) -> None:
    assert parse_record(line, ZONE, 30) == ZoneRecord(owner, kind, ttl, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("www", "missing"),
        ("", "missing"),
        ("www A", "missing"),
        ("www 60 IN", "missing"),
        ("www A 192.0.2", "does not read"),
        ("www A 192.0.2.1 192.0.2.2", "2 words"),
        ("www AAAA 192.0.2.1", "does not read"),
        ("www BOGUS x", "unknown type"),
        ("www SOA a b 1 2 3 4 5", "cannot be an extra record"),
        ("sub NS ns.example.", "cannot be an extra record"),
        ("sub DNAME example.", "cannot be an extra record"),
        ("sub TYPE46 \\# 0", "cannot be an extra record"),
        ("sub TYPE255 \\# 0", "cannot be an extra record"),
        ("sub TYPE0 \\# 0", "cannot be an extra record"),
        ("sub TYPE65280 0a", "without"),
        ("sub TYPE65280 \\# 2 0a", "1 bytes"),
        ("sub TYPE65280 \\# 1 zz", "does not read"),
        ("sub CNAME \\# 1 00", "words"),
        ("a..b A 192.0.2.1", "no domain name"),
        (f"{'a' * 64} A 192.0.2.1", "no domain name"),
        ("www 604801 A 192.0.2.1", "out of range"),
        ('www TXT "open', "close every quote"),
        (f"www TXT {'x' * 256}", "does not read"),
        ("www TXT ( x )", "parentheses"),
        ("www HTTPS 1 . alpn=h2 alpn=h3", "twice"),
        ("www HTTPS 0 . alpn=h2", "alias"),
        ("www HTTPS 1 . bogus=1", "does not read"),
        ("www HTTPS x .", "does not read"),
        ("m MX mail.example.", "words"),
    ],
)
def test_what_is_no_record_is_refused_with_a_remedy(line: str, says: str) -> None:
    with pytest.raises(RecordError) as error:
        parse_record(line, ZONE, 30)
    assert says in f"{error.value}; {error.value.remedy}"
    assert error.value.remedy


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_any_line_is_a_record_or_an_error(line: str) -> None:
    try:
        record = parse_record(line, ZONE, 30)
    except RecordError:
        return
    assert 1 <= record.kind <= 65535
    assert len(record.data) <= 65535


KINDS = st.sampled_from(["A 192.0.2.1", "TXT {} x", "MX 1 {}", "SRV 1 2 3 {}", "HTTPS 1 {} alpn=h2", "CAA 0 issue {}"])


@given(KINDS, st.from_regex(r"[a-z]{1,10}\.example\.", fullmatch=True))
def test_the_wire_form_is_what_dnslib_reads(data: str, name: str) -> None:
    record = parse_record(f"x {data.format(name)}", ZONE, 30)
    head = b"\x00" + record.kind.to_bytes(2, "big") + b"\x00\x01" + bytes(4) + len(record.data).to_bytes(2, "big")
    assert name.rstrip(".") in str(RR.parse(DNSBuffer(head + record.data)).rdata) or "{}" not in data


def with_records(*lines: str) -> str:
    entries = "".join(f"\n    - '{line}'" for line in lines)
    return changed(("zone: {name: apps.example}", f"zone:\n  name: apps.example\n  records:{entries}"))


def problems(text: str) -> list[tuple[str, str]]:
    with pytest.raises(TopologyError) as error:
        parse(text, "net.yaml")
    return [(problem.key, problem.message) for problem in error.value.problems]


@pytest.mark.parametrize(
    ("lines", "place", "says"),
    [
        (["www A 192.0.2"], 0, "does not read"),
        (["x TXT a", "www.example. TXT x"], 1, "outside the zone"),
        (["shop A 192.0.2.1"], 0, "application's hostname"),
        (["shop CNAME www", "www TXT x"], 0, "alias and has other"),
        (["ns1 AAAA ::1"], 0, "name server"),
        (["a CNAME b", "a TXT x", "b TXT x"], 0, "alias and has other"),
        (["@ CNAME shop"], 0, "alias and has other"),
        (["a CNAME b", "b CNAME a"], 0, "circle"),
        (["a CNAME nowhere"], 0, "does not exist"),
        (["a 30 TXT x", "a 60 TXT y"], 1, "beside"),
        (["a TXT x", "A TXT x"], 1, "twice"),
    ],
)
def test_records_that_cannot_stand_in_the_zone(lines: list[str], place: int, says: str) -> None:
    found = problems(with_records(*lines))
    assert any(key == f"zone.records[{place}]" and says in message for key, message in found), found


def zone_of(*lines: str) -> Topology:
    return parse(with_records(*lines), "net.yaml")


def test_records_that_can() -> None:
    lines = [
        "alias CNAME shop",
        "*.dev CNAME alias",
        "into CNAME x.y.dev",
        "ent CNAME b",
        "a.b TXT x",
        "out CNAME www.example.",
        "shop TXT x",
        "ns1 TXT x",
        "ns2 A 192.0.2.1",
        "top CNAME @",
    ]
    records = zone_of(*lines).zone.records
    assert [record.owner for record in records][:3] == ["alias.apps.example", "*.dev.apps.example", "into.apps.example"]
    assert len(records) == len(lines)


def test_dns_settings() -> None:
    assert parse(TEXT, "net.yaml").dns == DnsSettings()
    text = f'{TEXT}\ndns: {{version: "", client_subnet: all, slip: 1, cookie_secrets: ["{"ab" * 16}"]}}\n'
    settings = parse(text, "net.yaml").dns
    assert settings == DnsSettings(
        version="", client_subnet=ClientSubnetUse.ALL, slip=1, cookie_secrets=(bytes([0xAB]) * 16,)
    )


@pytest.mark.parametrize(
    ("dns", "key", "says"),
    [
        ('{cookie_secrets: ["abcd"]}', "dns.cookie_secrets[0]", "no secret"),
        ("{client_subnet: some}", "dns.client_subnet", "'some' is not accepted"),
        ("{slip: 11}", "dns.slip", "out of range"),
        ("{responses_per_second: -1}", "dns.responses_per_second", "out of range"),
        ("{identity: 1}", "dns.identity", "wrong type"),
        ("{slips: 1}", "dns.slips", "unknown key"),
    ],
)
def test_settings_that_are_none(dns: str, key: str, says: str) -> None:
    ((found, message),) = problems(f"{TEXT}\ndns: {dns}\n")
    assert (found, says in message) == (key, True)


def test_a_secret_is_not_shown() -> None:
    text = f'{TEXT}\ndns: {{cookie_secrets: ["{"ab" * 15}zz"]}}\n'
    assert "abab" not in str(problems(text))
