"""Answers as a resolver sees them. The table follows RFC 8906, 2308, 6891, 8020, 8482 and 4343."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dnslib import CLASS, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from dns.counters import Counters
from dns.policy import Standing
from dns.view import make_view
from tests.dns.zone import ANY, CONFIG, FRA, NYC, ask, query, respond, view_with
from topology.model import DnsSettings

if TYPE_CHECKING:
    from dns.answer import Transport
    from dns.view import View

VIEW = view_with()


def rdata(record: DNSRecord) -> list[str]:
    return [str(answer.rdata) for answer in record.rr]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "answer"),
    [
        ("shop.apps.example", "A", 0, ["10.91.1.130"]),
        ("shop.apps.example", "AAAA", 0, ["fd91:1::1:1"]),
        ("a.deep.apps.example", "A", 0, ["10.91.3.131"]),
        ("a.deep.apps.example", "AAAA", 0, []),
        ("shop.apps.example", "HTTPS", 0, []),
        ("shop.apps.example", "CAA", 0, []),
        ("shop.apps.example", "TYPE1000", 0, []),
        ("shop.apps.example", "NS", 0, []),
        ("deep.apps.example", "A", 0, []),
        ("apps.example", "A", 0, []),
        ("apps.example", "DS", 0, []),
        ("apps.example", "NS", 0, ["ns1.apps.example.", "ns2.apps.example."]),
        ("ns1.apps.example", "A", 0, ["10.91.1.53"]),
        ("ns1.apps.example", "AAAA", 0, ["fd91:1::53"]),
        ("ns2.apps.example", "AAAA", 0, []),
        ("nosuch.apps.example", "A", 3, []),
        ("x.shop.apps.example", "A", 3, []),
        ("a.b.c.d.nosuch.apps.example", "TXT", 3, []),
        ("shop.apps.example", "ANY", 0, ["\\# 9 075246433834383200"]),
    ],
)
@pytest.mark.parametrize("edns", [None, 1232])
def test_names_in_the_zone(name: str, kind: str, rcode: int, answer: list[str], edns: int | None) -> None:
    got = ask(query(name, kind, edns=edns), view=VIEW)
    header = got.header
    assert (header.rcode, header.aa, header.tc, header.ra, header.ad, header.cd, header.z) == (rcode, 1, 0, 0, 0, 0, 0)
    assert header.id == 0x1234
    assert rdata(got) == answer
    assert [str(record.rname) for record in got.rr] == [name + "."] * len(answer)
    if answer:
        assert got.auth == []
    else:
        (soa,) = got.auth
        assert (str(soa.rname), soa.rtype, soa.ttl, soa.rdata.times[4]) == ("apps.example.", 6, 30, 30)
    assert [record.rtype for record in got.ar if record.rtype == 41] == ([] if edns is None else [41])


def test_ttls() -> None:
    assert {answer.ttl for answer in ask(query("shop.apps.example"), view=VIEW).rr} == {30}
    assert {answer.ttl for answer in ask(query("apps.example", "SOA"), view=VIEW).rr} == {3600}


def test_the_soa_is_complete() -> None:
    (soa,) = ask(query("apps.example", "SOA"), view=VIEW).rr
    assert (str(soa.rdata.mname), str(soa.rdata.rname)) == ("ns1.apps.example.", "hostmaster.apps.example.")


def test_the_serial_follows_the_configuration_alone() -> None:
    serials = {
        ask(query("apps.example", "SOA"), view=view_with(up)).rr[0].rdata.times[0] for up in ((), (FRA,), (NYC,))
    }
    assert len(serials) == 1


def test_name_servers_come_with_their_addresses() -> None:
    got = ask(query("apps.example", "NS"), view=VIEW)
    assert {(str(r.rname), str(r.rdata)) for r in got.ar} == {
        ("ns1.apps.example.", "10.91.1.53"),
        ("ns1.apps.example.", "fd91:1::53"),
        ("ns2.apps.example.", "10.91.2.53"),
    }


@pytest.mark.parametrize("name", ["www.example.org", "example", "", "apps.example.org", "xapps.example", "pps.example"])
def test_other_zones_are_refused_without_referral(name: str) -> None:
    got = ask(query(name or ".", edns=1232), view=VIEW)
    assert (got.header.rcode, got.header.aa, got.rr, got.auth) == (5, 0, [], [])


@pytest.mark.parametrize("qclass", [3, 4, 255])
def test_other_classes_are_refused(qclass: int) -> None:
    data = DNSRecord(questions=[DNSQuestion("shop.apps.example", 1, qclass)]).pack()
    got = ask(bytes(data), view=VIEW)
    assert (got.header.rcode, got.header.aa, got.rr) == (5, 0, [])


def test_what_is_told_of_the_server_can_be_switched_off() -> None:
    silent = replace(CONFIG, settings=DnsSettings(version="", identity=False))
    view = make_view(silent, dict.fromkeys(silent.vips, Standing.UP))
    for name in ("version.bind", "version.server", "id.server", "hostname.bind"):
        chaos = query(name, "TXT")[:-1] + b"\x03"
        assert ask(chaos).header.rcode == 0
        refused = ask(chaos, view=view)
        assert (refused.header.rcode, refused.rr) == (5, [])
    nsid = query("apps.example", "SOA", edns=1232)[:-2] + b"\x00\x04\x00\x03\x00\x00"
    for seen, told in ((view_with(), ["dns-1"]), (view, [])):
        (opt,) = ask(nsid, view=seen).ar
        assert [option.data.decode() for option in opt.rdata if option.code == 3] == told


def test_a_label_with_a_dot_in_it_is_another_name() -> None:
    wire = b"\x11shop.apps.example\x00"
    got = respond(query(".")[:12] + wire + b"\x00\x01\x00\x01", "10.91.1.10", "udp", VIEW, Counters())
    assert got is not None
    assert got[3] & 15 == 5


def test_letters_keep_their_case_and_do_not_matter() -> None:
    rng = random.Random(7)
    plain = query("shop.apps.example")
    for _ in range(50):
        data = (
            plain[:12]
            + bytes(byte ^ 0x20 if chr(byte).isalpha() and rng.random() < 0.5 else byte for byte in plain[12:-4])
            + plain[-4:]
        )
        answer = respond(data, "10.91.1.10", "udp", VIEW, Counters())
        assert answer is not None
        assert answer[12 : len(data)] == data[12:]
        assert rdata(DNSRecord.parse(answer)) == ["10.91.1.130"]


def test_flags_of_the_query_are_not_copied_but_rd() -> None:
    data = bytearray(query("shop.apps.example"))
    data[2:4] = (0x0770).to_bytes(2, "big")
    got = respond(bytes(data), "10.91.1.10", "udp", VIEW, Counters())
    assert got is not None
    assert int.from_bytes(got[2:4], "big") == 0x8500


def test_another_opcode_gets_a_bare_header() -> None:
    header = DNSHeader(id=9, rd=1, opcode=15)
    got = respond(bytes(DNSRecord(header).pack()), "10.91.1.10", "udp", VIEW, Counters())
    assert got == bytes.fromhex("0009 f804 0000 0000 0000 0000")


def test_a_future_edns_version_is_told_ours() -> None:
    got = ask(query("shop.apps.example", edns=1232, version=1), view=VIEW)
    (opt,) = got.ar
    assert (got.header.rcode, got.header.aa, got.rr, got.auth) == (0, 0, [], [])
    assert (opt.edns_rcode, opt.edns_ver, opt.edns_len) == (1, 0, 1232)


def test_the_do_bit_is_copied_and_other_flags_and_options_are_not() -> None:
    data = query("shop.apps.example", edns=1232, do=True)
    assert data.endswith(bytes.fromhex("00 0029 04d0 00008000 0000"))
    answer = respond(data, "10.91.1.10", "udp", VIEW, Counters())
    assert answer is not None
    assert answer.endswith(bytes.fromhex("00 0029 04d0 00008000 0000"))
    other = data[:-4] + bytes.fromhex("ffff 0006 0064 0002 6162")
    answer = respond(other, "10.91.1.10", "udp", VIEW, Counters())
    assert answer is not None
    assert answer.endswith(bytes.fromhex("00 0029 04d0 00008000 0000"))


@pytest.mark.parametrize(
    ("edns", "transport", "whole", "limit"),
    [
        (None, "udp", False, 512),
        (100, "udp", False, 512),
        (512, "udp", False, 512),
        (1232, "udp", False, 1232),
        (4096, "udp", False, 1232),
        (512, "tcp", True, 65535),
        (None, "tcp", True, 65535),
    ],
)
def test_truncation(edns: int | None, transport: Transport, whole: bool, limit: int) -> None:
    counters = Counters()
    data = query("wide.apps.example", edns=edns)
    raw = respond(data, "10.91.1.10", transport, VIEW, counters)
    assert raw is not None
    assert len(raw) <= limit
    got = DNSRecord.parse(raw)
    assert (got.header.tc, len(got.rr), counters.truncated) == ((0, 100, 0) if whole else (1, 0, 1))
    assert len(got.ar) == (edns is not None), "the OPT record is never cut"
    assert got.q.qname == "wide.apps.example."


def test_minimal_answers() -> None:
    got = respond(query("shop.apps.example", edns=1232), "10.91.1.10", "udp", VIEW, Counters())
    assert got is not None
    assert len(got) <= 100


# Steering, seen from outside; the rules themselves are in test_policy.


@pytest.mark.parametrize(
    ("client", "up", "expected"),
    [
        ("10.91.1.10", (FRA, NYC, ANY), ["10.91.1.130"]),
        ("10.91.2.10", (FRA, NYC, ANY), ["10.91.2.130"]),
        ("fd91:1::10", (FRA, NYC, ANY), ["10.91.1.130"]),
        ("192.0.2.1", (FRA, NYC, ANY), ["10.91.3.130"]),
        ("10.91.1.10", (NYC, ANY), ["10.91.3.130"]),
        ("10.91.1.10", (NYC,), ["10.91.2.130"]),
        ("10.91.2.10", (), ["10.91.2.130", "10.91.3.130", "10.91.1.130"]),
    ],
)
def test_the_client_gets_the_vip_of_its_edge(client: str, up: tuple[int, ...], expected: list[str]) -> None:
    assert rdata(ask(query("shop.apps.example"), client=client, view=view_with(up))) == expected


def test_a_draining_edge_gets_new_clients_only_as_the_last_one() -> None:
    assert rdata(ask(query("shop.apps.example"), view=view_with((FRA, NYC), draining=(FRA,)))) == ["10.91.2.130"]
    assert rdata(ask(query("shop.apps.example"), view=view_with((FRA,), draining=(FRA,)))) == ["10.91.1.130"]


def test_counters() -> None:
    counters = Counters()
    for data in (query("shop.apps.example"), query("x.apps.example", "TYPE1000"), query("x.org", "AAAA"), b"short"):
        respond(data, "10.91.1.10", "udp", VIEW, counters)
    respond(query("shop.apps.example", edns=512, version=1), "10.91.1.10", "tcp", VIEW, counters)
    respond(query("shop.apps.example"), "10.91.1.10", "tcp", view_with(()), counters)
    flat = counters.flat()
    assert counters.queries == {
        ("udp", "ipv4", "A", "NOERROR"): 1,
        ("udp", "ipv4", "other", "NXDOMAIN"): 1,
        ("udp", "ipv4", "AAAA", "REFUSED"): 1,
        ("tcp", "ipv4", "other", "BADVERS"): 1,
        ("tcp", "ipv4", "A", "NOERROR"): 1,
    }
    assert counters.responses == {
        ("apps.example", "NOERROR"): 2,
        ("apps.example", "NXDOMAIN"): 1,
        ("none", "REFUSED"): 1,
        ("none", "BADVERS"): 1,
    }
    assert counters.drops == {"short": 1}
    assert counters.faults == {"edns_version": 1}
    assert counters.answers == {("shop", "edge-fra-1"): 1}
    assert counters.decisions == {"best": 1, "fail_open": 1}
    assert flat["queries/udp/ipv4/A/NOERROR"] == 1


def test_histograms() -> None:
    counters = Counters()
    counters.count_batch("udp", 100, [64, 65, 1232], 10_000)
    counters.count_batch("udp", 0, [], 5_000_000)
    counters.count_batch("tcp", 30, [20_000], 11_000_000)
    flat = counters.flat()
    families = ("sizes", "durations", "duration_us", "busy_us")
    assert {name: n for name, n in flat.items() if n and name.startswith(families)} == {
        "sizes/udp/64": 1,
        "sizes/udp/128": 1,
        "sizes/udp/1232": 1,
        "sizes/tcp/inf": 1,
        "durations/udp/10": 3,
        "durations/tcp/inf": 1,
        "duration_us/udp": 30,
        "duration_us/tcp": 11_000,
        "busy_us/udp": 5_010,
        "busy_us/tcp": 11_000,
    }
    assert flat["sizes/udp/16384"] == flat["durations/udp/inf"] == 0, "every bucket is there"
    assert (counters.bytes["received", "udp"], counters.bytes["sent", "udp"]) == (100, 1361)


VIEWS: tuple[View, ...] = (VIEW, view_with(()))


@given(st.binary(max_size=300), st.sampled_from(["udp", "tcp"]), st.sampled_from(VIEWS))
def test_any_bytes_get_a_readable_answer_or_none(data: bytes, transport: Transport, view: View) -> None:
    answer = respond(data, "10.91.1.10", transport, view, Counters())
    if answer is not None:
        assert answer[:2] == data[:2]
        DNSRecord.parse(answer)


names = st.sampled_from(["shop.apps.example", "apps.example", "a.deep.apps.example", "deep.apps.example"])


@given(
    names | st.from_regex(r"([a-z]{1,8}\.){0,4}apps\.example", fullmatch=True),
    st.integers(0, 65535),
    st.none() | st.integers(0, 65535),
)
def test_every_question_gets_an_answer_that_dnslib_reads(name: str, qtype: int, size: int | None) -> None:
    data = query(name, f"TYPE{qtype}", edns=size)
    raw = respond(data, "10.91.1.10", "udp", VIEW, Counters())
    assert raw is not None
    got = DNSRecord.parse(raw)
    assert (str(got.q.qname), got.q.qtype, got.q.qclass) == (name + ".", qtype, CLASS.IN)
    assert len(got.rr) + len(got.auth) > 0 or got.header.rcode == 5
