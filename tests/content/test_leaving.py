"""A node ends, and somebody else may have a connection: it leaves between two requests. Its client hears nothing."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from content.connection import ClientConnection
from content.wire import Wire
from tests.content.test_service import fresh, until
from tests.content.web import HOST, LOOPBACK, Client, Proxied, Reply, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from content.message import Request
    from tests.content.web import Asked

BODY = b"body" * 500
REQUEST = f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@dataclass
class Gateway:
    """Takes the connection, if it does."""

    takes: bool = True
    stays: bool = False
    busy: int = 0
    """How often the connection cannot be had yet."""
    asked: int = 0
    left: trio.Event = field(default_factory=trio.Event)

    async def before(self, asked: Request | None) -> bool:
        return False

    async def failed(self, asked: Request) -> bool:
        return False

    async def leave(self) -> bool:
        self.asked += 1
        if self.busy:
            self.busy -= 1
            return False
        self.stays = not self.takes
        if self.takes:
            self.left.set()
        return self.takes


@dataclass
class Served:
    client: Client
    connection: ClientConnection
    kernel: socket.socket
    """Of the proxy; open until the end, as its keeper's is."""
    drains: bool = False

    async def drain(self, gateway: Gateway) -> None:
        """As the role says it: again and again."""
        self.drains = True
        with trio.fail_after(10):
            while not (gateway.left.is_set() or gateway.stays):
                self.connection.leave()
                await trio.sleep(0.02)

    async def silent(self) -> bool:
        with trio.move_on_after(0.2):
            await self.client.stream.receive_some(1)
            return False
        return True


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    found = await proxied(nursery, monkeypatch, tmp_path / "store")
    found.origin.reply = lambda _asked: fresh(found, BODY)
    return found


@asynccontextmanager
async def served(proxy: Proxied, gateway: Gateway | None) -> AsyncIterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    cache = proxy.service.cache
    assert cache is not None
    wire = Wire(accepted.dup())
    connection = ClientConnection(
        wire, LOOPBACK, cache, proxy.service.find, "c-1", lambda: found.drains, gateway, idle=30.0
    )
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(opened))
    found = Served(Client(stream), connection, accepted)

    async def serve() -> None:
        try:
            await connection.serve()
        finally:
            wire.close()

    with accepted:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield found
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("part", [b"", REQUEST[:9], REQUEST[:-2]])
async def test_between_two_requests_it_leaves_with_what_has_come(proxy: Proxied, part: bytes) -> None:
    gateway = Gateway(busy=2)
    async with served(proxy, gateway) as found:
        assert (await found.client.ask()).body == BODY
        await found.client.stream.send_all(part)
        await trio.sleep(0.05)
        await found.drain(gateway)
        assert await found.silent()
        assert found.kernel.recv(1000, socket.MSG_DONTWAIT) == part if part else True
        assert gateway.asked == 3


async def test_an_answer_that_is_under_way_ends_first_and_does_not_say_close(proxy: Proxied) -> None:
    gateway, hold = Gateway(), trio.Event()

    def reply(_asked: Asked) -> Reply:
        made = fresh(proxy, BODY)
        made.hold = hold
        return made

    proxy.origin.reply = reply
    async with served(proxy, gateway) as found, trio.open_nursery() as nursery:
        nursery.start_soon(found.client.stream.send_all, REQUEST)
        await until(lambda: found.connection.busy)
        nursery.start_soon(found.drain, gateway)
        await trio.sleep(0.1)
        assert gateway.asked == 0
        hold.set()
        got = b""
        with trio.fail_after(10):
            while not got.endswith(BODY):
                got += await found.client.stream.receive_some()
            await gateway.left.wait()
        assert b"connection: close" not in got.lower()
        assert await found.silent()


@pytest.mark.parametrize("gateway", [Gateway(takes=False), None])
async def test_what_nobody_takes_ends_in_order(proxy: Proxied, gateway: Gateway | None) -> None:
    async with served(proxy, gateway) as found:
        assert "connection" not in (await found.client.ask()).headers
        if gateway is None:
            found.drains = True
            assert (await found.client.ask()).headers["connection"] == "close"
        else:
            await found.drain(gateway)
        with trio.fail_after(10):
            assert await found.client.stream.receive_some(1) == b""


async def test_while_nobody_takes_it_answers_say_that_it_ends(proxy: Proxied) -> None:
    async with served(proxy, Gateway(stays=True)) as found:
        found.drains = True
        assert (await found.client.ask()).headers["connection"] == "close"
        with trio.fail_after(10):
            assert await found.client.stream.receive_some(1) == b""
