"""What the relay decides of a request by its connection's plan is what the gateway decides, or it is left to it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.delegation import delegation
from braid.http import without_port
from gateway.proxy.events import ClientData, Request
from gateway.transfer.agent import TransferAgent
from gateway.transfer.choosing import Chooser
from gateway.transfer.offer import is_for_origin, key_of
from gateway.transfer.planning import MOST, Plans
from gateway.transfer.stored import StoredTable
from tests.delegations import delegations
from tests.delegations import situation as situation_of
from tests.topology.test_transfers import text
from topology.source import parse
from topology.values import socket_address

if TYPE_CHECKING:
    from braid.role import Situation
    from braid.transfer_table import Standing

WALL = 1_800_000_000.0
HOST = "shop.apps.example"
ROWS = (
    "{application: shop, proxies: [c-1, c-2]}",
    "{application: shop, proxies: [c-2, c-1], path: /app/, mode: serve}",
    "{application: shop, proxies: [c-1, c-2], policy: hash}",
    "{application: shop, proxies: [c-1, c-2], policy: hash, path: /video/, hash: client}",
    "{application: shop, proxies: [c-1], policy: least_connections, methods: [GET]}",
    "{application: shop, proxies: [c-1, c-2], policy: random, path: /img/}",
    '{application: shop, proxies: [c-1], hosts: ["*.apps.example"]}',
    '{application: shop, proxies: [c-1], hosts: ["shop.apps.example"], path: /a}',
    "{application: shop, proxies: [c-1], clients: [10.1.0.0/24], path: /app/}",
    "{application: shop, proxies: [c-2], clients: [10.2.0.0/24]}",
    "{application: shop, proxies: [c-2], ports: [tcp/80], edges: [e], path: /video/}",
    '{application: shop, proxies: [c-1], until: "2027-01-31T00:00:00+01:00"}',
    '{application: shop, proxies: [c-2], until: "2027-01-01T00:00:00+01:00"}',
    "{application: shop, proxies: [c-1], path: /img/, connection: {least_requests: 2}}",
    "{application: shop, proxies: [c-1], path: /app/, methods: [HEAD], mode: serve}",
)
FIELDS = (
    "", "Cache-Control: no-cache", "cache-control: max-age=0, x", "Cache-Control: max-age=9", "Pragma: No-Cache",
    "If-Match: *", "If-Match:", "If-Unmodified-Since: x", "If-None-Match: x", "Via: 1.1 c-1", "Via: 1.1 elsewhere",
    "via: 1.1 C-2 (x), 1.0 y",
    "Upgrade: websocket", "Cache-Control: a=\",no-cache\"", "Cache-Control: max-age=5\r\nCACHE-CONTROL: no-cache",
)  # fmt: skip


ONE_EACH = parse(text("\n  - ".join(ROWS)), "net.yaml")


def of(rows: list[str], down: set[str], port: int = 80) -> tuple[Situation, ClientData]:
    topology = replace(ONE_EACH, transfers=tuple(ONE_EACH.transfers[ROWS.index(row)] for row in rows))
    links: Any = SimpleNamespace(neighbour_up=lambda name: name not in down)
    client, vip = socket_address("10.1.0.10:40000", 0), socket_address(f"10.1.0.130:{port}", 0)
    return situation_of(topology, "g-1", links), ClientData(client, vip, "e-1", "e", "shop")


def young() -> Standing | None:
    return None


@given(
    rows=st.lists(st.sampled_from(ROWS), min_size=1, max_size=4, unique=True),
    port=st.sampled_from([80, 8080]),
    down=st.sets(st.sampled_from(["c-1", "c-2"]), max_size=1),
    narrow=st.booleans(),
    leaving=st.booleans(),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
    authority=st.sampled_from([HOST, "SHOP.Apps.example:80", f"{HOST}.", "apps.example", "x.apps.example", "[::1]:80"]),
    path=st.sampled_from(["/", "/app/1", "/video/1", "/img/", "/a", "/appl"]),
    query=st.sampled_from(["", "?", "?a=1", "?a?b"]),
    fields=st.lists(st.sampled_from(FIELDS), max_size=2),
)
def test_a_plan_decides_as_the_gateway_does(
    rows: list[str], port: int, down: set[str], narrow: bool, leaving: bool, method: str, authority: str, path: str,
    query: str, fields: list[str],
) -> None:  # fmt: skip
    situation, data = of(rows, down, port)
    if narrow:
        only = delegation([ip_network("0.0.0.0/0")], ["other.example"])
        situation = replace(situation, delegations={**delegations(situation.topology), "c-2": only})
    counts: list[str] = []
    agent: Any = TransferAgent()
    agent.count = counts.append
    chooser = Chooser(StoredTable(), agent, Random(1), lambda: WALL)
    if leaving:
        chooser.leaving.add(situation.topology.nodes["c-1"].number)
    plans = Plans(chooser.leaving)
    plans.follow(situation)
    lines = [f"{method} {path}{query} HTTP/1.1", f"Host: {authority}", *filter(None, fields)]
    decided = plans.of(situation, data).choose("\r\n".join([*lines, "", ""]).encode(), WALL)
    headers: dict[str, str] = {}
    for line in "\r\n".join(lines[1:]).split("\r\n"):
        name, _, value = line.partition(":")
        before = headers.get(name.lower())
        headers[name.lower()] = value.strip() if before is None else f"{before}, {value.strip()}"
    found = path.partition("?")
    request = Request(
        data, method=method, host=without_port(authority.lower()), path=found[0], query=query[1:], headers=headers
    )
    chosen = chooser.of_request(situation, data, request, young)
    if decided is None:
        return
    name, key, only_origin = decided
    assert name == ("" if chosen is None else chosen[1])
    assert not counts, "what is counted is left to the gateway"
    assert key.decode() == key_of(request, data.vip)
    assert only_origin == is_for_origin(request)


def decided(rows: list[str], head: str = "GET /video/1 HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n") -> str | None:
    situation, data = of(rows, set())
    plans = Plans(set())
    plans.follow(situation)
    found = plans.of(situation, data).choose(head.encode("latin-1"), WALL)
    return None if found is None else found[0]


def test_what_plans_do_not_look_at_is_left_open() -> None:
    assert decided([ROWS[0]]) == "c-1"
    assert decided([ROWS[2]]) in ("c-1", "c-2")
    assert decided([ROWS[3]]) is None
    assert decided([ROWS[5]], "GET /img/1 HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n") is None
    assert decided([ROWS[4]]) == "c-1", "of one there is nothing to choose"
    assert decided([ROWS[13], ROWS[0]], "GET /img/1 HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n") is None
    via = "GET /video/1 HTTP/1.1\r\nHost: shop.apps.example\r\nVia: 1.1 {}\r\n\r\n"
    assert [decided([ROWS[0]], via.format(name)) for name in ("x", "c-1", "\xa0")] == ["c-1", "", None]
    with pytest.raises(ValueError, match="head"):
        decided([ROWS[0]], "GET /video/1 HTTP/1.1\r\n")


def test_at_another_port_the_key_names_it() -> None:
    situation, data = of([ROWS[0]], set(), 8080)
    found = Plans(set()).of(situation, data).choose(b"GET /a? HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n", WALL)
    assert found is not None
    assert found[1] == b"http://shop.apps.example:8080/a"


def test_plans_are_made_anew_when_what_they_depend_on_has_changed() -> None:
    leaving: set[int] = set()
    plans = Plans(leaving)
    situation, data = of([ROWS[9]], set())
    assert plans.follow(situation)
    assert not plans.follow(situation)
    plan = plans.of(situation, data)
    assert plans.of(situation, data) is plan
    other = replace(data, client=socket_address("10.2.0.10:40000", 0))
    assert plans.of(situation, other) is not plan, "a row names clients"
    assert not plans.follow(replace(situation, delegations=dict(situation.delegations)))
    leaving.add(situation.topology.nodes["c-2"].number)
    assert plans.follow(situation)
    assert plans.of(situation, data) is not plan
    assert plans.follow(of([ROWS[9]], {"c-2"})[0])
    assert plans.follow(replace(situation, delegations={}))


def test_no_more_plans_are_kept_than_there_is_room_for() -> None:
    situation, data = of([ROWS[9]], set())
    plans = Plans(set())
    plans.follow(situation)
    first = plans.of(situation, data)
    for number in range(MOST):
        plans.of(situation, replace(data, client=socket_address(f"10.3.{number // 250}.{number % 250 + 1}:1", 0)))
    assert plans.of(situation, data) is not first
