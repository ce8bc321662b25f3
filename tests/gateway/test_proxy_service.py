"""The proxy service on loopback: what a reload and a stop do to listeners and connections."""

from __future__ import annotations

import socket
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio
import trio.testing

from braid.role import NodeHandle, Situation
from gateway.proxy import show, stack
from gateway.proxy.service import ProxyService
from tests.gateway.proxy_bench import HttpServer, exchange, http_servers, read_all
from tests.gateway.test_proxy_gateway import TEXT
from topology.source import parse
from topology.transfer import TransferRow

if TYPE_CHECKING:
    from gateway.proxy.events import ClientData
    from topology.model import SocketAddress, Topology

GET = b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


class Node:
    """A gateway whose topology the test replaces; its VIPs' ports are ports of loopback."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topology = parse(TEXT, "test")
        self.ports: dict[SocketAddress, int] = {}
        self._event = trio.Event()
        self.taken: set[int] = set()

        async def clear() -> None:
            pass

        async def apply(before: stack.Local, after: stack.Local) -> list[str]:
            return []

        def listen(where: SocketAddress) -> socket.socket:
            if where.port in self.taken:
                raise OSError(98, "Address already in use")
            opened = socket.create_server(("127.0.0.1", 0))
            opened.setblocking(False)
            self.ports[where] = opened.getsockname()[1]
            return opened

        monkeypatch.setattr(stack, "clear", clear)
        monkeypatch.setattr(stack, "apply", apply)
        monkeypatch.setattr(stack, "listen", listen)

    def use(self, server: HttpServer, **settings: object) -> None:
        shop = self.topology.applications["shop"]
        assert shop.proxy is not None
        proxy = replace(shop.proxy, **settings)  # type: ignore[arg-type]
        self.set(replace(shop, targets=(server.target,), proxy=proxy))

    def set(self, *applications: object) -> None:
        named = {each.name: each for each in applications}  # type: ignore[attr-defined]
        self.topology: Topology = replace(self.topology, applications=named)
        self._event.set()
        self._event = trio.Event()

    def handle(self) -> NodeHandle:
        def unused(*_words: object) -> bool:
            raise AssertionError("not for proxies")

        links: Any = SimpleNamespace(neighbour_up=lambda _: True)
        return NodeHandle(
            situation=lambda: Situation(self.topology, "g-1", links),
            replan=lambda: None,
            send_control=unused,
            changed=lambda: self._event,
            reloaded=lambda: self._event,
            draining=lambda: False,
            ready=lambda: True,
            traffic=dict,
            set_syn_keys=lambda _current, _keys, _gateways: None,
            tell=lambda _name, _message: None,
            send_to_peer=lambda _name, _message: False,
            set_owner=lambda *_words, **_named: False,
            hear=lambda: None,
            held=lambda _hold: False,
        )

    async def connect(self, port: int = 80) -> trio.SocketStream:
        found = next(number for where, number in self.ports.items() if where.port == port)
        return await trio.open_tcp_stream("127.0.0.1", found)


async def test_a_life_of_the_service(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await http_servers(nursery, "one", "two")
    node, service = Node(monkeypatch), ProxyService(lambda _key: True, Random(1))
    node.use(one, connections=2)
    await nursery.start(service.run, node.handle())
    assert {where.port for where in node.ports} == {80, 8000, 8001}
    first, second = await node.connect(), await node.connect(8000)
    async with first, second:
        with structlog.testing.capture_logs() as lines:
            assert (await exchange(first, GET))[2] == b"one / 0"
        assert [(line["event"], line["status"], line["server"]) for line in lines] == [
            ("served", 200, f"127.0.0.1:{one.port}")
        ]
        await exchange(second, GET)
        async with await node.connect() as third:
            with pytest.raises(trio.BrokenResourceError):
                await read_all(third)
        (shop,) = show.proxies(service, trio.current_time())
        assert (shop.open, shop.connections, shop.requests, shop.refused) == (2, 3, 2, {"too_many_connections": 1})
        flow = show.flows(service, 1, trio.current_time())[0]
        assert (flow.mode, flow.state, flow.why) == ("normal", "waiting", "round_robin")

        node.use(two)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await exchange(first, GET))[2] == b"two / 0"

        node.use(two, kind="no_such_module:X")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert "no_such_module" in service.problems["applications.shop.proxy.kind"]
        assert (await exchange(first, GET))[2] == b"two / 0"

        node.set()
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(trio.BrokenResourceError):
            await read_all(first)
        assert (service.connections, service.relay.connections, service.applications) == ({}, {}, {})
        with pytest.raises(OSError, match="all attempts to connect"):
            await node.connect()


async def test_a_port_that_is_taken_is_named_and_the_others_serve(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = await http_servers(nursery, "one")
    node, service = Node(monkeypatch), ProxyService(lambda _key: True, Random(1))
    node.taken = {8000}
    node.use(server)
    await nursery.start(service.run, node.handle())
    assert {where.rpartition(":")[2] for where in service.problems} == {"8000"}
    async with await node.connect(8001) as client:
        assert (await exchange(client, GET))[0] == 200
        assert service.finish()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await read_all(client) == b""
    with trio.fail_after(5):
        while service.finish():  # noqa: ASYNC110 - it is asked again and again, as a stopping node does
            await trio.sleep(0.01)


async def test_what_begins_with_tls_is_offered_to_content_proxies_first(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = await http_servers(nursery, "one")
    node, service = Node(monkeypatch), ProxyService(lambda _key: True, Random(1))
    node.use(server, kind="tls-sni")
    node.topology = replace(node.topology, transfers=(TransferRow("shop", ("cache-1",)),))
    offered: list[str] = []
    taken = False

    async def offer_hello(stream: trio.SocketStream, data: ClientData, promoted: object) -> bool:
        assert promoted is None, "listeners accept it"
        offered.append(data.application)
        if taken:
            await stream.aclose()
        return taken

    monkeypatch.setattr(service.transfers, "offer_hello", offer_hello)
    await nursery.start(service.run, node.handle())
    async with await node.connect() as client:
        await client.send_all(b"no TLS")
        # An alert: it went on here.
        assert (await read_all(client))[:1] == b"\x15"
    taken = True
    async with await node.connect() as client:
        assert await read_all(client) == b""
    assert offered == ["shop", "shop"]
