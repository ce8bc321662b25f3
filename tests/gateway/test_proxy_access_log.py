"""What the access log says of requests that have no whole answer of a server."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random

import pytest
import structlog.testing
import trio

from gateway.proxy.connection import Connection
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, application, listen
from topology.model import Target
from topology.proxy import HTTP, ProxySettings

SETTINGS = ProxySettings(HTTP, retries=0)
GET = b"GET /a HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


async def said(nursery: trio.Nursery, port: int, asked: bytes, *, relay: bool) -> list[tuple[str, int, str, int, str]]:
    """The lines of a client that asks one server, and reads until its connection ends."""
    made = ProxiedApplication(application((Target(LOOPBACK, port, 1),), SETTINGS), SETTINGS, lambda _: True, Random(1))
    carrier = Relay("")
    nursery.start_soon(carrier.run)

    async def serve(stream: trio.SocketStream) -> None:
        if relay:
            await carrier.serve(stream, made, CLIENT)
        else:
            await Connection(made, made.make_proxy(), stream, CLIENT).run()

    with structlog.testing.capture_logs() as lines, trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", await listen(nursery, serve)) as client:
            await client.send_all(asked)
            with suppress(trio.BrokenResourceError):
                while await client.receive_some(1000):
                    pass
    assert all(line["server"] in ("", f"127.0.0.1:{port}") for line in lines)
    return [(line["event"], line["status"], line["target"], line["bytes"], line["why"]) for line in lines]


@pytest.mark.parametrize("relay", [True, False])
async def test_a_server_that_cannot_be_reached(nursery: trio.Nursery, *, relay: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    why = "server_connect_econnrefused"
    assert await said(nursery, port, GET, relay=relay) == [("refused", 502, "/a", 0, why)]


@pytest.mark.parametrize("relay", [True, False])
async def test_a_server_that_ends_in_the_middle(nursery: trio.Nursery, *, relay: bool) -> None:
    async def half(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    found = await said(nursery, await listen(nursery, half), GET, relay=relay)
    assert [each[:4] for each in found] == [("refused", 200, "/a", 4)]


@pytest.mark.parametrize("relay", [True, False])
async def test_what_is_no_request_has_no_line(nursery: trio.Nursery, *, relay: bool) -> None:
    assert await said(nursery, 9, b"\x16\x03\x01\r\n\r\n", relay=relay) == []
