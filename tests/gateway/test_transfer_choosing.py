"""By which row of the routing table a gateway offers a request, to which content proxy, and what it need not ask."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from braid.delegation import Delegation, delegation
from braid.transfer import Reason, TransferRefuse
from braid.transfer_table import Standing
from gateway.proxy.events import ClientData, Request
from gateway.transfer.agent import TransferAgent
from gateway.transfer.choosing import Chooser
from gateway.transfer.stored import Is, StoredTable
from tests.delegations import delegations
from tests.delegations import situation as situation_of
from tests.gateway.transfer_world import request as transfer_request
from tests.topology.test_transfers import text
from topology.source import parse
from topology.values import socket_address

if TYPE_CHECKING:
    from braid.role import Situation

LEAST = "{application: shop, proxies: [c-1, c-2], policy: least_connections}"
SERVE = "{application: shop, proxies: [c-1], path: /app/, mode: serve}"
STORED = "{application: shop, proxies: [c-1], path: /video/}"
TOPOLOGY = parse(text(f"{SERVE}\n  - {STORED}"), "net.yaml")
CLIENT, VIP = socket_address("10.1.0.10:40000", 0), socket_address("10.1.0.130:80", 0)
DATA = ClientData(CLIENT, VIP, "e-1", "e", "shop")
PROXY = TOPOLOGY.nodes["c-1"].number
KEY = "http://shop.apps.example/app/1"


def asked(path: str, method: str = "GET", **headers: str) -> Request:
    return Request(DATA, method=method, host="shop.apps.example", path=path, headers=headers)


def situation(*unreachable: str) -> Situation:
    links = SimpleNamespace(neighbour_up=lambda name: name not in unreachable)
    return situation_of(TOPOLOGY, "g-1", links)  # type: ignore[arg-type]


def young() -> Standing:
    return Standing(1, 100, 0, 64_000)


@pytest.fixture
def counts() -> list[str]:
    return []


@pytest.fixture
def stored() -> StoredTable:
    return StoredTable()


@pytest.fixture
def chooser(stored: StoredTable, counts: list[str]) -> Chooser:
    agent = TransferAgent()
    agent.count = counts.append  # type: ignore[method-assign]
    return Chooser(stored, agent, Random(1), lambda: 0.0)


@pytest.mark.parametrize(
    ("request_", "proxy"),
    [
        (asked("/app/1"), "c-1"),
        (asked("/video/1"), "c-1"),
        (asked("/img/1"), None),
        (asked("/app/1", "POST"), None),
        (asked("/app/1", upgrade="websocket"), None),
        (asked("/video/1", upgrade="websocket"), "c-1"),
        (asked("/app/1", via="1.1 c-1"), None),
        (asked("/app/1", via="1.1 c-2"), None),
        (asked("/app/1", via="1.1 elsewhere"), "c-1"),
        (asked("/video/1", via="1.1 c-1"), None),
        (asked("/video/1", via="1.1 c-2"), "c-1"),
    ],
)
def test_what_a_row_names_and_no_proxy_asks_itself_is_offered(
    chooser: Chooser, request_: Request, proxy: str | None
) -> None:
    found = chooser.of_request(situation(), DATA, request_, young)
    assert (None if found is None else found[1]) == proxy


def test_a_proxy_that_cannot_be_reached_is_counted_and_the_origin_serves(chooser: Chooser, counts: list[str]) -> None:
    assert chooser.of_request(situation("c-1"), DATA, asked("/app/1"), young) is None
    assert counts == ["refused/no_proxy"]


def test_a_proxy_that_drains_is_asked_nothing_and_others_are(chooser: Chooser, counts: list[str]) -> None:
    topology = parse(text("{application: shop, proxies: [c-1, c-2]}"), "net.yaml")
    here = replace(situation(), topology=topology, delegations=delegations(topology))

    def ask() -> str | None:
        found = chooser.of_request(here, DATA, asked("/video/1"), young)
        return None if found is None else found[1]

    assert ask() == "c-1"
    chooser.leaving.add(topology.nodes["c-1"].number)
    assert ask() == "c-2"
    assert counts == []
    chooser.leaving.add(topology.nodes["c-2"].number)
    assert ask() is None
    assert counts == ["refused/draining"]


def test_only_those_are_asked_whose_certificates_allow_vip_and_name(chooser: Chooser, counts: list[str]) -> None:
    topology = parse(text("{application: shop, proxies: [c-1, c-2]}"), "net.yaml")
    elsewhere = delegation([ip_network("192.0.2.0/24")], ["shop.apps.example"])
    other = delegation([ip_network("0.0.0.0/0")], ["other.example"])

    def ask(changed: dict[str, Delegation]) -> str | None:
        here = replace(situation(), topology=topology, delegations={**delegations(topology), **changed})
        found = chooser.of_request(here, DATA, asked("/video/1"), young)
        return None if found is None else found[1]

    assert ask({}) == "c-1"
    assert ask({"c-1": elsewhere}) == ask({"c-1": other}) == "c-2"
    assert counts == []
    assert ask({"c-1": elsewhere, "c-2": other}) is None
    assert counts == ["refused/not_delegated"]


def test_where_all_is_served_only_a_refusal_of_a_moment_ago_keeps_a_request_here(
    chooser: Chooser, stored: StoredTable
) -> None:
    serve, or_origin = TOPOLOGY.transfers
    reload = asked("/app/1", **{"cache-control": "no-cache"})
    assert chooser.known(or_origin, reload, PROXY, KEY, b"", 0.0) is Is.UNFIT
    assert chooser.known(or_origin, asked("/app/1"), PROXY, KEY, b"", 0.0) is Is.UNKNOWN
    assert chooser.known(serve, reload, PROXY, KEY, b"", 0.0) is Is.STORED
    stored.remember_cold(PROXY, KEY, 0.0)
    assert chooser.known(serve, reload, PROXY, KEY, b"", 1.0) is Is.COLD
    assert chooser.known(serve, reload, PROXY, KEY, b"", 3.0) is Is.STORED


def test_the_proxy_that_has_fewest_connections_is_asked_and_what_is_over_counts_no_more() -> None:
    topology = parse(text(LEAST), "net.yaml")
    here = replace(situation(), topology=topology, delegations=delegations(topology))
    agent = TransferAgent()
    chooser = Chooser(StoredTable(), agent, Random(1), lambda: 0.0)
    asked_for: list[str] = []
    for number in range(100):
        found = chooser.of_request(here, DATA, asked("/img/1"), young)
        assert found is not None
        peer = topology.nodes[found[1]].number
        asked_for.append(found[1])
        agent.begin(peer, transfer_request(number), 0.0)
        if found[1] == "c-1" and number % 4:
            agent.receive(peer, TransferRefuse(transfer_request(number).id, Reason.BUSY), 0.0)
    assert agent.open[topology.nodes["c-1"].number] in range(20, 26)
    assert abs(agent.open[topology.nodes["c-1"].number] - agent.open[topology.nodes["c-2"].number]) <= 1
    assert asked_for.count("c-1") > asked_for.count("c-2")
    agent.handle_timeout(1.0)
    assert not any(agent.open.values()), "none of them has answered"


def test_a_row_may_want_connections_that_have_served_before() -> None:
    topology = parse(text("{application: shop, proxies: [c-1], connection: {least_requests: 2}}"), "net.yaml")
    here = replace(situation(), topology=topology)
    chooser = Chooser(StoredTable(), TransferAgent(), Random(1), lambda: 0.0)
    assert chooser.of_request(here, DATA, asked("/img/1"), young) is None
    assert chooser.of_request(here, DATA, asked("/img/1"), lambda: Standing(2, 200, 100, 64_000)) is not None
