"""Steered answers on the wire: whose VIP, for how long, for whom."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from dns.counters import Counters
from dns.policy import Standing
from dns.view import View, make_view
from tests.dns.zone import CONFIG, query, respond
from topology.model import ClientSubnetUse, DnsSettings

if TYPE_CHECKING:
    from dns.config import DnsConfig

UP, DEGRADED, DOWN = Standing.UP, Standing.DEGRADED, Standing.DOWN
SHOP = "shop.apps.example"
ALL = replace(CONFIG, settings=DnsSettings(client_subnet=ClientSubnetUse.ALL))
EQUAL = replace(ALL, edges=tuple(replace(edge, serves=()) for edge in ALL.edges))


def with_subnet(prefix: str, name: str = SHOP, kind: str = "A") -> bytes:
    text, length = prefix.split("/")
    address = ip_address(text)
    packed = address.packed[: -(-int(length) // 8)]
    content = struct.pack("!HBB", 1 if address.version == 4 else 2, int(length), 0) + packed
    option = struct.pack("!HH", 8, len(content)) + content
    return query(name, kind, edns=1232)[:-2] + struct.pack("!H", len(option)) + option


def answered(data: bytes, view: View, client: str = "192.0.2.1") -> tuple[list[str], int | None, DNSRecord]:
    """The addresses, the scope if there is one, and the whole answer."""
    raw = respond(data, client, "udp", view, Counters())
    assert raw is not None
    parsed = DNSRecord.parse(raw)
    options = [option for record in parsed.ar if record.rtype == 41 for option in record.rdata]
    scope = next((option.data[3] for option in options if option.code == 8), None)
    return [str(record.rdata) for record in parsed.rr], scope, parsed


def view_of(config: DnsConfig = ALL, **standings: Standing) -> View:
    edges = {"fra": 0, "nyc": 1, "everybody": 2}
    known = dict.fromkeys(ALL.vips, UP) | {(edges[name], "shop"): standing for name, standing in standings.items()}
    return make_view(config, known)


@pytest.mark.parametrize(
    ("prefix", "vip", "scope"),
    [
        ("10.91.1.0/24", "10.91.1.130", 24),
        ("10.91.2.77/32", "10.91.2.130", 24),
        ("10.91.0.0/24", "10.91.3.130", 24),
        ("10.0.0.0/8", "10.91.3.130", 10),
        ("192.0.2.0/24", "10.91.3.130", 1),
        ("fd91:1::/64", "10.91.1.130", 64),
        ("2001:db8::/56", "10.91.3.130", 1),
    ],
)
def test_a_resolvers_client_decides_and_the_scope_says_how_far(prefix: str, vip: str, scope: int) -> None:
    found, told, _ = answered(with_subnet(prefix), view_of())
    assert (found, told) == ([vip], scope)


def test_a_prefix_of_length_zero_asks_for_the_resolver_itself() -> None:
    found, told, _ = answered(with_subnet("0.0.0.0/0"), view_of(), client="10.91.1.9")
    assert (found, told) == (["10.91.1.130"], 0)


def test_private_prefixes_count_only_where_the_operator_says_so() -> None:
    public = make_view(CONFIG, dict.fromkeys(CONFIG.vips, UP))
    assert answered(with_subnet("10.91.1.0/24"), public)[:2] == (["10.91.3.130"], 0)
    off = make_view(
        replace(CONFIG, settings=DnsSettings(client_subnet=ClientSubnetUse.OFF)), dict.fromkeys(CONFIG.vips, UP)
    )
    assert answered(with_subnet("1.2.3.0/24"), off)[:2] == (["10.91.3.130"], None)


def test_among_equals_the_scope_is_that_of_staying() -> None:
    view = view_of(EQUAL)
    found = {answered(with_subnet(f"10.{n}.0.0/24"), view)[0][0] for n in range(50)}
    assert found == {"10.91.1.130", "10.91.2.130", "10.91.3.130"}
    first = answered(with_subnet("10.1.0.0/24"), view)
    assert first[1] == 24
    assert all(answered(with_subnet(f"10.1.0.{n}/32"), view)[:2] == first[:2] for n in range(0, 256, 15))
    assert answered(with_subnet("2001:db8::/56"), view)[1] == 56


def test_names_that_are_the_same_for_all_have_scope_zero() -> None:
    for name, kind in (("apps.example", "SOA"), ("nosuch.apps.example", "A"), ("a.deep.apps.example", "AAAA")):
        assert answered(with_subnet("10.91.1.0/24", name, kind), view_of())[1] == 0


def test_an_empty_answer_that_others_do_not_get_has_a_scope() -> None:
    vips = {
        pair: tuple(a for a in own if a.version == 4) if pair == (0, "shop") else own for pair, own in ALL.vips.items()
    }
    view = make_view(replace(ALL, vips=vips), dict.fromkeys(vips, UP))
    found, scope, whole = answered(with_subnet("10.91.1.0/24", kind="AAAA"), view)
    assert (found, scope, whole.header.rcode, len(whole.auth)) == ([], 24, 0, 1)
    assert answered(with_subnet("10.91.2.0/24", kind="AAAA"), view)[0] == ["fd91:2::1:1"]


def test_the_ttl_is_short_while_something_may_change_soon() -> None:
    data = query(SHOP)
    for standings, ttl in (({}, 30), ({"nyc": DEGRADED}, 10), ({"nyc": DOWN}, 10), ({"nyc": Standing.HOLDING}, 10)):
        assert {record.ttl for record in answered(data, view_of(**standings), "10.91.1.9")[2].rr} == {ttl}
    assert answered(query("a.deep.apps.example"), view_of(nyc=DOWN))[2].rr[0].ttl == 30, "another application"


def test_an_edge_with_fewer_paths_comes_after_one_that_serves_everybody() -> None:
    data = query(SHOP)
    assert answered(data, view_of(fra=DEGRADED), "10.91.1.9")[0] == ["10.91.3.130"]
    assert answered(data, view_of(fra=DEGRADED, everybody=DOWN), "10.91.1.9")[0] == ["10.91.1.130"]


def test_fail_open_and_fail_closed() -> None:
    nobody = {"fra": DOWN, "nyc": DOWN, "everybody": DOWN}
    assert len(answered(query(SHOP), view_of(**nobody))[0]) == 3
    closed = replace(ALL, fail_closed=frozenset({"shop"}))
    found, _, whole = answered(query(SHOP), view_of(closed, **nobody))
    assert (found, whole.header.rcode, whole.header.aa, len(whole.auth)) == ([], 0, 1, 1)
    assert answered(query(SHOP), view_of(closed))[0] == ["10.91.3.130"]
