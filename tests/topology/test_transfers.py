"""The routing table of transfers: what a file may say, and which proxy a request leads to."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING

import pytest
import yaml

from braid.transfer_table import (
    Candidate,
    Standing,
    allowing,
    chosen,
    least_of,
    matching,
    next_on,
    path_of,
    serves,
    takes_all,
)
from tests.topology.base import changed
from topology import effective
from topology.compose import render
from topology.source import parse
from topology.table import KEPT, with_removed
from topology.transfer import Conditions, HashedBy, ProxyPolicy, TransferMode, TransferRow

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT = 'content: {listen: ["10.1.0.80"], directory: /var/cache/braid, applications: [shop]}'
ROW = "{application: shop, proxies: [c-1, c-2]}"
ASKED = Candidate("shop", ip_address("10.1.0.10"), "e", 80, "GET", "shop.apps.example", "/video/1.mp4")


def text(row: str = ROW, *changes: tuple[str, str]) -> str:
    proxies = "".join(f"  c-{n}: {{region: c, underlay: [192.0.2.{5 + n}], {CONTENT}}}\n" for n in (1, 2))
    return changed(
        ("  d: {role: dns}\n", "  d: {role: dns}\n  c: {role: content}\n"),
        ("links:", f"{proxies.replace('10.1.0.80', '10.1.0.81', 1)}links:"),
        ("    gateways: [g]", "    gateways: [g]\n    mode: proxy\n    proxy: {kind: http}"),
        ("lab:", f"transfers:\n  - {row}\nlab:"),
        *changes,
    )


CERTIFICATE = "tls: {certificates: [{certificate: own.pem, key: own.key}]}"
TLS_ROW = "{application: shop, proxies: [c-1], sni: [shop.apps.example]}"


def tls_text(row: str = TLS_ROW, *changes: tuple[str, str]) -> str:
    """The gateway passes TLS on."""
    return text(
        row, ("{kind: http}", "{kind: tls-sni}"), ("[tcp/80]", "[tcp/443]"), ("[shop]}", f"[shop], {CERTIFICATE}}}"),
        *changes
    )  # fmt: skip


def rows(row: str) -> tuple[TransferRow, ...]:
    return parse(text(row), "net.yaml").transfers


def test_a_row_with_nothing_but_what_is_needed() -> None:
    assert rows(ROW) == (TransferRow("shop", ("c-1", "c-2")),)


def test_every_condition_has_to_hold() -> None:
    row = (
        "{application: shop, proxies: [c-1], clients: [10.1.0.0/24], edges: [e], ports: [tcp/80], "
        'methods: [GET], hosts: ["*.Apps.example"], path: /video/, least_kb: 100, until: "2027-01-31T00:00:00+01:00"}'
    )
    (found,) = rows(row)
    end = 1801350000.0
    assert (found.least, found.until) == (100_000, end)
    assert matching([found], ASKED, end - 1) is found
    assert matching([found], ASKED, end) is None
    for wrong in (
        ASKED._replace(application="other"),
        ASKED._replace(client=ip_address("10.1.1.10")),
        ASKED._replace(client=ip_address("fd00::1")),
        ASKED._replace(region="f"),
        ASKED._replace(port=81),
        ASKED._replace(method="HEAD"),
        ASKED._replace(host="apps.example"),
        ASKED._replace(path="/videos"),
    ):
        assert matching([found], wrong, 0.0) is None, wrong


def test_the_first_row_that_holds_counts() -> None:
    table = (TransferRow("shop", ("c-1",), path="/img/"), TransferRow("shop", ("c-2",)), TransferRow("shop", ("c-1",)))
    assert matching(table, ASKED, 0.0) is table[1]
    assert matching(table, ASKED._replace(path="/img/a"), 0.0) is table[0]


def choose(
    row: TransferRow, candidate: Candidate, *gone: str, load: Mapping[str, int] | None = None, rng: Random | None = None
) -> str | None:
    return chosen(row, candidate, lambda name: name not in gone, (load or {}).__getitem__, rng or Random(1))


def test_policies_take_proxies_that_can_be_reached() -> None:
    first = TransferRow("shop", ("c-1", "c-2"))
    assert choose(first, ASKED) == "c-1"
    assert choose(first, ASKED, "c-1") == "c-2"
    for policy in ProxyPolicy:
        assert choose(replace(first, policy=policy), ASKED, "c-1", "c-2") is None
        assert choose(replace(first, policy=policy), ASKED, "c-1", load={"c-2": 7}) == "c-2"


@pytest.mark.parametrize(
    ("by", "same"),
    [
        (HashedBy.PATH, ASKED._replace(client=ip_address("10.1.0.99"))),
        (HashedBy.CLIENT, ASKED._replace(path="/other", host="other.example", port=81)),
    ],
)
def test_hashing_keeps_what_belongs_together_at_one_proxy(by: HashedBy, same: Candidate) -> None:
    hashed = TransferRow("shop", ("c-1", "c-2", "c-3"), ProxyPolicy.HASH, by)
    assert choose(hashed, same) == choose(hashed, ASKED)
    asked = [ASKED._replace(path=f"/{n}", client=ip_address(f"10.1.{n // 100}.{n % 100}")) for n in range(300)]
    before = [choose(hashed, each) for each in asked]
    assert all(before.count(name) > 60 for name in hashed.proxies)
    after = [choose(hashed, each, "c-2") for each in asked]
    assert all(one == other for one, other in zip(before, after, strict=True) if one != "c-2"), (
        "only its own part moves"
    )


def test_the_proxy_with_fewest_connections_is_taken_and_of_equals_any() -> None:
    least = TransferRow("shop", ("c-1", "c-2", "c-3"), ProxyPolicy.LEAST_CONNECTIONS)
    assert choose(least, ASKED, load={"c-1": 2, "c-2": 1, "c-3": 3}) == "c-2"
    assert choose(least, ASKED, "c-2", load={"c-1": 2, "c-2": 1, "c-3": 3}) == "c-1"
    rng = Random(3)
    taken = [choose(least, ASKED, load={"c-1": 1, "c-2": 1, "c-3": 2}, rng=rng) for _ in range(200)]
    assert min(taken.count("c-1"), taken.count("c-2")) > 60
    assert taken.count("c-3") == 0
    random = replace(least, policy=ProxyPolicy.RANDOM)
    drawn = [choose(random, ASKED, rng=rng) for _ in range(300)]
    assert all(drawn.count(name) > 60 for name in random.proxies)


def test_a_row_that_is_removed_offers_nothing_and_says_who_has_what_for_a_while() -> None:
    before = parse(text("{application: shop, proxies: [c-1, c-2], path: /video/}"), "net.yaml")
    other = parse(text("{application: shop, proxies: [c-2], path: /other/}"), "net.yaml")
    after = with_removed(before, other, 1000.0)
    assert after.transfers[:1] == other.transfers
    assert [row.proxies for row in after.transfers[1:]] == [("c-1", "c-2")]
    assert matching(after.transfers, ASKED, 999.9) is not None
    assert matching(after.transfers, ASKED, 1000.0) is None
    again = with_removed(after, other, 1000.0 + KEPT - 1)
    assert again == after, "the same file again changes nothing"
    assert with_removed(after, other, 1000.0 + KEPT) == other
    assert with_removed(before, before, 1000.0) is before
    back = with_removed(after, before, 1500.0)
    assert back.transfers == (*before.transfers, replace(other.transfers[0], until=1500.0))
    alone = replace(other, nodes={name: node for name, node in other.nodes.items() if name != "c-1"})
    assert with_removed(before, alone, 1000.0).transfers[1].proxies == ("c-2",)
    none = replace(other, nodes={name: node for name, node in alone.nodes.items() if name != "c-2"}, transfers=())
    assert with_removed(before, none, 1000.0) == none
    assert with_removed(before, replace(other, applications={}, transfers=()), 1000.0).transfers == ()


def test_no_row_asks_for_less_than_the_least() -> None:
    table = (
        TransferRow("shop", ("c-1",), path="/video/", least=100, methods=("HEAD",)),
        TransferRow("shop", ("c-1", "c-2"), least=200),
        TransferRow("other", ("c-3",)),
    )
    asked = [("shop", "c-1", "/video/1"), ("shop", "c-1", "/img/1"), ("shop", "c-2", "/video/1"), ("shop", "c-3", "/")]
    assert [least_of(table, *each) for each in asked] == [100, 200, 200, None]


def test_a_row_that_has_all_served_goes_for_what_is_not_stored_until_it_ends() -> None:
    (row,) = rows('{application: shop, proxies: [c-1], path: /video/, mode: serve, until: "1970-01-01T00:01:00Z"}')
    assert row.mode is TransferMode.SERVE
    table = (TransferRow("shop", ("c-2",)), row)
    assert takes_all(table, "shop", "c-1", "/video/1", 59.0)
    assert not takes_all(table, "shop", "c-1", "/video/1", 60.0)
    for wrong in (("other", "c-1", "/video/1"), ("shop", "c-2", "/video/1"), ("shop", "c-1", "/img/1")):
        assert not takes_all(table, *wrong, 0.0), wrong


CONNECTION = "least_requests: 2, least_received_kb: 1, most_received_kb: 5, least_sent_kb: 10, most_sent_kb: 10"
STANDING = Standing(requests=2, received=1000, sent=10_000, window=64_000)


def test_conditions_of_the_connection_are_looked_at_when_all_others_hold() -> None:
    (row,) = rows(f"{{application: shop, proxies: [c-1], connection: {{{CONNECTION}, least_window_kb: 64}}}}")
    assert row.connection == Conditions(2, 1000, 5000, 10_000, 10_000, 64_000)
    looked = 0

    def look(found: Standing | None) -> Standing | None:
        nonlocal looked
        looked += 1
        return found

    def holding(found: Standing | None, candidate: Candidate = ASKED) -> bool:
        return matching([row], candidate._replace(standing=lambda: look(found)), 0.0) is not None

    assert holding(STANDING)
    for wrong in (
        STANDING._replace(requests=1),
        STANDING._replace(received=999),
        STANDING._replace(received=5001),
        STANDING._replace(sent=9999),
        STANDING._replace(sent=10_001),
        STANDING._replace(window=63_999),
        None,
    ):
        assert not holding(wrong), wrong
    assert looked == 8
    assert not holding(STANDING, ASKED._replace(application="other"))
    assert matching([replace(row, connection=None)], ASKED._replace(standing=lambda: look(None)), 0.0) is not None
    assert looked == 8, "no condition, no look"
    assert matching([row], ASKED, 0.0) is row, "who has not seen the connection begin does not ask"
    shown = next(
        table
        for table in effective.tables(
            parse(text(f"{{application: shop, proxies: [c-1], connection: {{{CONNECTION}}}}}"), "net.yaml")
        )
        if table.title == "transfers"
    )
    assert shown.rows[0][3] == (
        "GET HEAD, from request 2, received from 1 kB, received up to 5 kB, sent from 10 kB, sent up to 10 kB"
    )


def test_a_proxy_may_answer_by_any_row_that_its_gateway_may_have_meant() -> None:
    asks = Conditions(least_requests=2)
    first, second = TransferRow("shop", ("c-2",), connection=asks), TransferRow("shop", ("c-1",), least=9)
    third = TransferRow("shop", ("c-1", "c-2"))
    table = (first, second, third)
    assert allowing(table, ASKED, "c-2", 0.0) is first
    assert allowing(table, ASKED, "c-1", 0.0) is second
    assert allowing((second, third), ASKED, "c-2", 0.0) is None, "the row before names another one"
    large = replace(first, proxies=("c-1",), least=100)
    assert allowing((large, second), ASKED, "c-1", 0.0) is second
    all_of_it = replace(large, mode=TransferMode.SERVE, least=0)
    assert allowing((all_of_it, second), ASKED, "c-1", 0.0) is all_of_it
    assert allowing((all_of_it,), ASKED, "c-3", 0.0) is None


@pytest.mark.parametrize(
    ("mode", "method", "upgrade", "all_of_it"),
    [
        (TransferMode.SERVE, "GET", False, True),
        (TransferMode.SERVE, "POST", False, True),
        (TransferMode.SERVE, "GET", True, False),
        (TransferMode.SERVE, "CONNECT", False, False),
        (TransferMode.SERVE, "TRACE", False, False),
        (TransferMode.SERVE_OR_ORIGIN, "GET", False, False),
    ],
)
def test_what_a_proxy_serves_whether_it_stores_it_or_not(
    mode: TransferMode, method: str, upgrade: bool, all_of_it: bool
) -> None:
    assert serves(TransferRow("shop", ("c-1",), mode=mode), method, upgrade=upgrade) is all_of_it


def test_methods_that_no_row_names_count_where_the_connection_is_as_the_first_that_rows_do() -> None:
    assert [next_on(ASKED._replace(method=method)).method for method in ("GET", "HEAD", "POST", "CONNECT")] == [
        "GET", "HEAD", "GET", "GET"
    ]  # fmt: skip


def test_the_path_of_a_key() -> None:
    keys = "http://shop.example/a/b?c/d", "https://shop.example:8443/", "tls://shop.example:443", "shop"
    assert [path_of(key) for key in keys] == ["/a/b", "/", "", ""]


def test_braid_check_shows_the_table() -> None:
    row = '{application: shop, proxies: [c-1], path: /video/, least_kb: 100, until: "2027-01-31T00:00:00Z"}'
    found = next(table for table in effective.tables(parse(text(row), "net.yaml")) if table.title == "transfers")
    shown = "GET HEAD, path /video/, from 100 kB, until 2027-01-31T00:00:00Z"
    assert found.rows == (("shop", "c-1", "first", shown),)
    row = "{application: shop, proxies: [c-1], mode: serve}"
    found = next(table for table in effective.tables(parse(text(row), "net.yaml")) if table.title == "transfers")
    assert found.rows == (("shop", "c-1", "first", "GET HEAD, all of it"),)
    row = "{application: shop, proxies: [c-1], policy: hash, hash: client}"
    found = next(table for table in effective.tables(parse(text(row), "net.yaml")) if table.title == "transfers")
    assert found.rows == (("shop", "c-1", "hash client", "GET HEAD"),)


def test_a_proxy_that_is_named_gets_a_tun_in_a_compose_file() -> None:
    members = ("members: {e-1: [10.1.0.2]", "members: {c-1: [10.1.0.81], c-2: [10.1.0.80], e-1: [10.1.0.2]")
    found = parse(text("{application: shop, proxies: [c-1]}", members), "net.yaml")
    services = yaml.safe_load(render(found))["services"]
    assert services["c-1"]["devices"] == services["e-1"]["devices"]
    assert "devices" not in services["c-2"]


def test_rows_of_tls_go_by_server_name_and_protocols() -> None:
    row = '{application: shop, proxies: [c-1], sni: ["*.Apps.example"], alpn: [h2, http/1.1], edges: [e]}'
    topology = parse(tls_text(row), "net.yaml")
    (found,) = topology.transfers
    asked = ASKED._replace(method="", path="", alpn=("http/1.1",))
    assert matching([found], asked, 0.0) is found
    for wrong in (
        asked._replace(host="apps.example"),
        asked._replace(alpn=("h3",)),
        asked._replace(alpn=()),
        asked._replace(region="f"),
    ):
        assert matching([found], wrong, 0.0) is None, wrong
    assert matching([replace(found, alpn=())], asked._replace(alpn=()), 0.0) is not None
    shown = next(table for table in effective.tables(topology) if table.title == "transfers")
    assert shown.rows[0][3] == "edges e, TLS, name *.apps.example, protocol h2, protocol http/1.1"


def test_files_of_tls_are_mounted_beside_the_topology_of_a_container() -> None:
    members = ("members: {e-1: [10.1.0.2]", "members: {c-1: [10.1.0.81], c-2: [10.1.0.80], e-1: [10.1.0.2]")
    authorities = (f"{CERTIFICATE}}}", f"{CERTIFICATE}, origin_ca: /ca/all.pem}}")
    found = parse(tls_text(TLS_ROW, members, authorities), "net.yaml")
    services = yaml.safe_load(render(found, "lab/net.yaml"))["services"]
    assert services["c-1"]["volumes"] == [
        "./lab/net.yaml:/etc/braid/topology.yaml:ro",
        "./lab/own.pem:/etc/braid/own.pem:ro",
        "./lab/own.key:/etc/braid/own.key:ro",
        "/ca/all.pem:/ca/all.pem:ro",
        "pki:/pki:ro",
    ]
    assert len(services["c-2"]["volumes"]) == len(services["g-1"]["volumes"]) == 2
