"""ClientHellos that are looked at and not taken away."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tls.hello import PULL
from gateway.transfer import hello
from gateway.transfer.hello import Waiting, peek
from tests.gateway.hellos import client_hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAME = "shop.apps.example"


@pytest.fixture
async def ends() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Of a connection on loopback: the client's, and ours."""
    async with trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[trio.SocketStream](1)

        async def arrived(stream: trio.SocketStream) -> None:
            await send.send(stream)
            await trio.sleep_forever()

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, arrived, [listener])
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ours = await receive.receive()
        async with client, ours:
            yield client, ours
        nursery.cancel_scope.cancel()


async def unread(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive_some(count - len(data))
    return data


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 5, 100, -1)])
@pytest.mark.parametrize("protocols", [("h2", "http/1.1"), tuple(f"protocol-number-{n}" for n in range(150))])
async def test_it_is_seen_whole_and_stays_unread(
    ends: tuple[trio.SocketStream, trio.SocketStream], cuts: tuple[int, ...], protocols: tuple[str, ...]
) -> None:
    client, ours = ends
    data = client_hello(NAME, *protocols)
    bounds = [0, *(cut % len(data) for cut in cuts), len(data)]

    async def send() -> None:
        for begin, end in itertools.pairwise(bounds):
            await client.send_all(data[begin:end])
            await trio.sleep(0.02)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            found = await peek(ours)
        assert found is not None
        assert (found.sni, found.alpn) == (NAME, protocols)
        assert await unread(ours, len(data)) == data
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize(
    "data",
    [
        client_hello(None),
        client_hello(NAME, "http/1.1", PULL),
        b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n",
        client_hello(NAME)[:-1],
        b"",
    ],
    ids=["no-name", "from-a-proxy", "no-tls", "not-whole", "nothing"],
)
async def test_what_is_not_offered(
    ends: tuple[trio.SocketStream, trio.SocketStream], data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hello, "HELLO_FOR", 0.1)
    client, ours = ends
    if data:
        await client.send_all(data)
    with trio.fail_after(10):
        assert await peek(ours) is None
        assert await unread(ours, len(data)) == data


async def test_a_client_that_ends_or_breaks_off_is_not_waited_for(
    ends: tuple[trio.SocketStream, trio.SocketStream],
) -> None:
    client, ours = ends
    await client.send_all(client_hello(NAME)[:50])
    await client.send_eof()
    with trio.fail_after(1):
        assert await peek(ours) is None


async def test_an_offer_is_moved_or_goes_on(ends: tuple[trio.SocketStream, trio.SocketStream]) -> None:
    _, ours = ends
    refused = Waiting(ours)
    assert refused.go_on(0.0)
    assert not await refused.moved()
    assert ours.socket.fileno() >= 0
    moved = Waiting(ours)
    moved.give_up()
    assert await moved.moved()
    assert ours.socket.fileno() < 0
    assert not Waiting(ours).go_on(0.0)
