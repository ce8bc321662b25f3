"""What a gateway tells content proxies of unsafe requests that it passed, and what it does not offer meanwhile."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.delegation import Delegation
from braid.events import Control
from braid.outdated import Dropped, Outdated, decode, encode
from braid.repeated import AGAIN
from braid.role import Situation
from content.message import Head
from content.message import Request as Stored
from content.policy import invalidated
from gateway.proxy.events import ClientData, Request
from gateway.proxy.service import ProxyService
from gateway.transfer.offer import key_of, outdated_by, proxies_storing
from gateway.transfer.outdated import FOR, SLOWEST, OutdatedTable
from tests.gateway.proxy_bench import exchange, http_servers
from tests.gateway.test_proxy_gateway import TEXT
from tests.gateway.test_proxy_service import Node
from topology.source import parse
from topology.transfer import TransferRow
from topology.values import socket_address

if TYPE_CHECKING:
    from topology.model import Topology

PROXY = 51
KEY = "http://shop.apps.example/cached/a"
IDS = [bytes([number]) * 16 for number in range(5)]


class Counts(dict[str, int]):
    def __call__(self, what: str) -> None:
        self[what] = self.get(what, 0) + 1


def test_it_is_said_until_the_proxy_answers_and_not_offered_meanwhile() -> None:
    counts = Counts()
    table = OutdatedTable(counts)
    (said,) = table.add(PROXY, KEY, IDS[0], 0.0)
    assert decode(said.message) == Outdated(IDS[0], KEY)
    assert table.has(PROXY, KEY)
    assert not table.has(PROXY + 1, KEY)
    assert table.handle_timeout(AGAIN / 2) == []
    assert table.handle_timeout(AGAIN) == [said]
    assert table.handle_timeout(AGAIN) == []
    assert table.dropped(PROXY + 1, IDS[0]) is None, "another proxy has"
    assert table.has(PROXY, KEY)
    assert table.dropped(PROXY, IDS[0]) == KEY
    assert not table.has(PROXY, KEY)
    assert (table.dropped(PROXY, IDS[0]), table.handle_timeout(100.0), len(table)) == (None, [], 0)
    assert counts == {"outdated": 1}


def test_the_answer_to_an_earlier_change_is_none_to_a_later_one() -> None:
    table = OutdatedTable(Counts())
    table.add(PROXY, KEY, IDS[0], 0.0)
    (later,) = table.add(PROXY, KEY, IDS[1], 0.01)
    assert table.dropped(PROXY, IDS[0]) is None
    assert table.has(PROXY, KEY)
    assert table.handle_timeout(1.0) == [later]
    assert table.dropped(PROXY, IDS[1]) == KEY


def test_a_proxy_that_never_answers_is_told_more_and_more_rarely_and_for_so_long() -> None:
    counts = Counts()
    table = OutdatedTable(counts)
    table.add(PROXY, KEY, IDS[0], 0.0)
    now, times = 0.0, []
    while table.next_timeout() < FOR * 2:
        now = table.next_timeout()
        times += [now] * len(table.handle_timeout(now))
    assert FOR - SLOWEST < times[-1] < FOR
    assert times[-1] - times[-2] == SLOWEST
    assert times[1] - times[0] < 2 * AGAIN
    assert not table.has(PROXY, KEY)
    assert counts == {"outdated": 1, "outdated_lost": 1}


def test_of_too_many_the_oldest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transfer.outdated.MOST", 2)
    counts = Counts()
    table = OutdatedTable(counts)
    for number in range(3):
        table.add(PROXY, f"{KEY}{number}", IDS[number], 0.0)
    assert [table.has(PROXY, f"{KEY}{number}") for number in range(3)] == [False, True, True]
    table.add(PROXY, f"{KEY}2", IDS[3], 0.0)
    assert (len(table), table.has(PROXY, f"{KEY}1")) == (2, True), "no more room is needed for the same again"
    assert table.add(PROXY, "x" * 20_000, IDS[4], 0.0) == []
    assert counts == {"outdated": 5, "outdated_lost": 2}


CLIENT, VIP = socket_address("198.51.100.7:40000", 0), socket_address("10.91.1.173:80", 0)
ELSEWHERE = [
    b"/b", b"/b?c#d", b"http://shop.apps.example/e", b"HTTP://shop.apps.example:80/f", b"http://shop.apps.example",
    b"https://shop.apps.example/g", b"//shop.apps.example/h", b"relative", b"", b"http://other.example/i", b"/\xe9",
]  # fmt: skip


@pytest.mark.parametrize("port", [80, 8000])
@pytest.mark.parametrize("reference", ELSEWHERE)
def test_keys_are_those_that_a_proxy_drops_when_it_sees_the_same(reference: bytes, port: int) -> None:
    request = Request(ClientData(CLIENT, VIP, "e-1", "e", "shop"), method="PUT", host="shop.apps.example", path="/a",
                      query="q=1")  # fmt: skip
    seen = Stored(b"PUT", "shop.apps.example", port, b"/a?q=1")
    expected = invalidated(seen, Head(201, ((b"location", reference),)))
    assert outdated_by(request, replace(VIP, port=port), [reference]) == expected
    assert key_of(request, replace(VIP, port=port)) in expected


def topology() -> Topology:
    found = parse(TEXT.replace("regions: {", "regions: {c: {role: content}, ").replace(
        "applications:\n", "  cache-1: {region: c, underlay: [192.0.2.5], content: {listen: [192.0.2.6], "
        "directory: /nowhere, applications: [shop]}}\napplications:\n", 1,
    ), "test")  # fmt: skip
    return replace(found, transfers=(TransferRow("shop", ("cache-1",), path="/cached/"),))


def test_only_proxies_that_may_store_it_are_told() -> None:
    found = topology()

    def told(key: str, application: str = "shop") -> list[str]:
        return [proxy.name for proxy in proxies_storing(found, application, key)]

    assert told(KEY) == ["cache-1"]
    assert told("http://shop.apps.example:8000/cached/a") == ["cache-1"]
    assert told("http://shop.apps.example/else") == []
    assert told("http://other.example/cached/a") == [], "no proxy stores it under that name"
    assert told("http://plain.apps.example/cached/a", "plain") == []


async def test_a_request_that_changes_something_is_told_before_its_answer_and_again_until_it_is_heard(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = await http_servers(nursery, "one")
    node, service = Node(monkeypatch), ProxyService(lambda _key: True, Random(1))
    node.topology = topology()
    node.use(server)
    heard: list[Outdated] = []

    def tell(name: str, message: bytes) -> None:
        assert name == "cache-1"
        found = decode(message)
        assert isinstance(found, Outdated)
        heard.append(found)

    allowed = {"cache-1": Delegation((ip_network("127.0.0.0/8"),), ("shop.apps.example",))}
    situation = Situation(node.topology, "g-1", Links(), delegations=allowed)  # type: ignore[arg-type]
    await nursery.start(service.run, replace(node.handle(), situation=lambda: situation, tell=tell))
    counts, number = service.transfers.agent.counts, node.topology.nodes["cache-1"].number

    async def ask(method: str, path: str, via: str = "") -> None:
        text = f"{method} {path} HTTP/1.1\r\nHost: shop.apps.example\r\n{via}Content-Length: 0\r\n\r\n"
        await exchange(client, text.encode())

    async with await node.connect() as client:
        await ask("PUT", "/else")
        await ask("GET", "/cached/a")
        assert (heard, counts.pop("refused/table_full")) == ([], 1), "it would be offered"
        await ask("PUT", "/cached/a", "Via: 1.1 cache-1\r\n")
        assert [message.key.replace(f":{port_of(client)}", "") for message in heard] == [KEY]
        await ask("GET", "/cached/a")
        await ask("GET", "/cached/b")
        assert (counts["refused/outdated"], counts.pop("refused/table_full")) == (1, 1), "the other one is offered"
        with trio.fail_after(5):
            while len(heard) < 3:  # noqa: ASYNC110 - the service has a clock of its own
                await trio.sleep(0.01)
        assert len({message.id for message in heard}) == 1
        dropped = encode(Dropped(heard[0].id))
        for peer, adjacent in ((number + 1, True), (number, False)):
            service.transfers.receive(Control(peer, adjacent, dropped), trio.current_time())
        assert counts["stray"] == 2
        service.transfers.receive(Control(number, True, dropped), trio.current_time())
        before = len(heard)
        await trio.sleep(3 * AGAIN)
        assert len(heard) == before
        await ask("GET", "/cached/a")
        assert (counts["refused/outdated"], counts["refused/cold"]) == (1, 1), "what it told of its store may be older"
    assert counts["outdated"] == 1


class Links:
    """Every neighbour is there."""

    def neighbour_up(self, name: str) -> bool:
        return bool(name)


def port_of(client: trio.SocketStream) -> int:
    port: int = client.socket.getpeername()[1]
    return port
