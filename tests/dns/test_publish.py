"""The zones as they are published: against a slow and plain reading of RFC 1034 section 4.3.2, and reverse zones."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from dnslib import DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from dns.counters import Counters
from dns.health import HealthTable
from dns.publish import make_zones
from dns.reverse import reverse_zones
from tests.dns.zone import CONFIG, FULL, make_full_view, query, respond, view_of
from topology.model import DnsSettings
from topology.zonefile import parse_record

APEX = "apps.example"
labels = st.sampled_from(["a", "b", "*", "x"])
owners = st.lists(labels, min_size=1, max_size=3).map(lambda parts: ".".join(parts))


def lookup(owner_names: set[str], asked: str) -> str:
    """exists / wildcard OWNER / nothing, by walking down from the zone (RFC 4592 section 3.3.1)."""
    existing = {APEX}
    for owner in owner_names:
        parts = owner.removesuffix(f".{APEX}").split(".")
        existing |= {".".join([*parts[start:], APEX]) for start in range(len(parts))}
    if asked in existing:
        return "exists"
    encloser = asked
    while encloser not in existing:
        encloser = encloser.partition(".")[2]
    return f"wildcard *.{encloser}" if f"*.{encloser}" in existing else "nothing"


@given(st.sets(owners, min_size=1, max_size=5), st.lists(owners, min_size=1, max_size=8))
def test_names_wildcards_and_empty_non_terminals(names: set[str], asked: list[str]) -> None:
    records = tuple(parse_record(f'{name} TXT "{name}"', APEX, 30) for name in names)
    config = replace(CONFIG, zone=replace(CONFIG.zone, records=records), hosts={})
    view = view_of(config, HealthTable(), 0.0)
    full = {f"{name}.{APEX}" for name in names}
    for each in asked:
        name = f"{each}.{APEX}"
        raw = respond(query(name, "TXT"), "192.0.2.1", "udp", view, Counters())
        assert raw is not None
        got = DNSRecord.parse(raw)
        found = lookup(full, name)
        source = name if found == "exists" else found.removeprefix("wildcard ")
        expected = [source.removesuffix(f".{APEX}")] if source in full else []
        assert [record.rdata.data[0].decode() for record in got.rr] == expected
        assert [str(record.rname) for record in got.rr] == [f"{name}."] * len(expected)
        assert got.header.rcode == (3 if found == "nothing" else 0)
        assert len(got.auth) == (not expected)


def test_the_negative_soa_is_whole_whatever_the_length_of_the_name() -> None:
    view = make_full_view()
    for name in ("n.apps.example", f"{'x' * 63}.{'y' * 63}.apps.example", "1.2.91.10.in-addr.arpa"):
        raw = respond(query(name), "192.0.2.1", "udp", view, Counters())
        assert raw is not None
        got = DNSRecord.parse(raw)
        (soa,) = got.auth
        assert got.header.rcode == 3
        assert str(soa.rname) in ("apps.example.", "2.91.10.in-addr.arpa.")
        assert (str(soa.rdata.mname), str(soa.rdata.rname)) == ("ns1.apps.example.", "hostmaster.apps.example.")
        assert soa.rdata.times[1:] == (3600, 600, 604800, 30)


def test_a_negative_answer_is_short() -> None:
    raw = respond(query("nosuch.apps.example"), "192.0.2.1", "udp", make_full_view(), Counters())
    assert raw is not None
    assert len(raw) <= len(query("nosuch.apps.example")) + 55


def test_the_serial_follows_the_records() -> None:
    def serial(lines: list[str]) -> int:
        records = tuple(parse_record(line, APEX, 30) for line in lines)
        view = view_of(replace(CONFIG, zone=replace(CONFIG.zone, records=records)), HealthTable(), 0.0)
        raw = respond(query(APEX, "SOA"), "192.0.2.1", "udp", view, Counters())
        assert raw is not None
        return int(DNSRecord.parse(raw).rr[0].rdata.times[0])

    assert serial(["a TXT x"]) == serial(["a TXT x"]) != serial(["a TXT y"])


@pytest.mark.parametrize(
    ("pool", "count", "apex"),
    [
        ("10.91.1.128/28", 16, "128.1.91.10.in-addr.arpa"),
        ("10.91.2.0/24", 1, "2.91.10.in-addr.arpa"),
        ("10.92.0.0/15", 2, "93.10.in-addr.arpa"),
        ("10.92.1.1/32", 1, "1.1.92.10.in-addr.arpa"),
        ("fd91:1::1:0/112", 1, ".".join(["1", *"0" * 19, *"100019df", "ip6.arpa"])),
        ("fd91:1::1:0/126", 4, ".".join([*"3000", "1", *"0" * 19, *"100019df", "ip6.arpa"])),
    ],
)
def test_reverse_zones_are_no_wider_than_the_pools(pool: str, count: int, apex: str) -> None:
    zones = reverse_zones([ip_network(pool)], {})
    assert len(zones) == count
    assert apex in zones


def test_reverse_zones_can_be_switched_off() -> None:
    off = replace(FULL, settings=DnsSettings(reverse=False))
    assert any(name.endswith(b"\x04arpa\x00") for name in make_zones(FULL).names)
    assert not any(name.endswith(b"\x04arpa\x00") for name in make_zones(off).names)
