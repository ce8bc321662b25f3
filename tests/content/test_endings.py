"""How a client's connection ends: as late as the client needs, with nothing lost, and heard as what it is."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from content.connection import ClientConnection
from content.wire import Wire
from tests.content.test_service import BODY, fresh
from tests.content.web import HOST, LOOPBACK, Proxied, Reply, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LARGE = BODY * 16
FIELDS = f"Host: {HOST}\r\n".encode()
REQUEST = b"GET /a HTTP/1.1\r\n" + FIELDS + b"\r\n"


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    return await proxied(nursery, monkeypatch, tmp_path / "store")


@asynccontextmanager
async def client(proxy: Proxied, idle: float = 30.0, stall: float = 30.0) -> AsyncIterator[trio.SocketStream]:
    """One with little room for what it does not read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        opened.connect(listener.getsockname())
        accepted, _ = listener.accept()
    cache = proxy.service.cache
    assert cache is not None
    wire = Wire(accepted)
    served = ClientConnection(
        wire, LOOPBACK, cache, proxy.service.find, "c-1", lambda: False, idle=idle, stall=stall
    )  # fmt: skip

    async def serve() -> None:
        try:
            await served.serve()
        finally:
            wire.close()

    async with trio.SocketStream(trio.socket.from_stdlib_socket(opened)) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield stream
        nursery.cancel_scope.cancel()


async def all_of(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    """Head and body, up to the end."""
    got = bytearray()
    with trio.fail_after(30):
        async for data in stream:
            got += data
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    return head, body


async def answer(stream: trio.SocketStream, body: bytes) -> None:
    """The next one is this, and nothing else comes."""
    got = b""
    with trio.fail_after(10):
        while not got.endswith(b"\r\n\r\n" + body):
            data = await stream.receive_some()
            assert data, got
            got += data
    assert got.startswith(b"HTTP/1.1 200"), got


@pytest.mark.parametrize(("stall", "whole"), [(30.0, True), (0.2, False)])
async def test_who_pauses_gets_the_rest_when_it_goes_on(proxy: Proxied, stall: float, whole: bool) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, LARGE)
    async with client(proxy, stall=stall) as stream:
        await stream.send_all(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await trio.sleep(1.0)
        _, body = await all_of(stream)
    assert (body == LARGE) is whole
    assert LARGE.startswith(body)


async def test_blank_lines_before_a_request_are_no_request(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, b"short")
    async with client(proxy) as stream:
        await stream.send_all(b"\r\n" + REQUEST)
        await answer(stream, b"short")
        for begin in (REQUEST + b"\r\n\r\n" + REQUEST, b"\r", b"\n" + REQUEST):
            await stream.send_all(begin)
            if begin.startswith(b"GET"):
                await answer(stream, b"short")
            if begin.endswith(REQUEST):
                await answer(stream, b"short")


async def test_blank_lines_alone_begin_no_request(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content.connection.HEAD_TIMEOUT", 0.1)
    proxy.origin.reply = lambda _asked: fresh(proxy, b"short")
    async with client(proxy) as stream:
        await stream.send_all(REQUEST + b"\r\n")
        await answer(stream, b"short")
        await trio.sleep(0.4)
        await stream.send_all(REQUEST)
        await answer(stream, b"short")


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(proxy: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content.connection.HEAD_TIMEOUT", 0.5)
    async with client(proxy) as stream, trio.open_nursery() as nursery:

        async def dribble() -> None:
            while True:
                await stream.send_all(b"G")
                await trio.sleep(0.1)

        nursery.start_soon(dribble)
        with trio.fail_after(5):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("more", [b"\r\n", REQUEST])
async def test_what_is_sent_behind_the_last_request_costs_nothing_of_its_answer(proxy: Proxied, more: bytes) -> None:
    proxy.origin.reply = lambda _asked: fresh(proxy, LARGE)
    async with client(proxy) as stream:
        await stream.send_all(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = bytearray()
        while len(got) < len(LARGE) - 200_000:
            got += await stream.receive_some(100_000)
        # All has left the proxy, and lies in the kernel.
        await trio.sleep(0.3)
        await stream.send_all(more)
        await trio.sleep(0.1)
        got += b"".join([data async for data in stream])
    assert bytes(got).partition(b"\r\n\r\n")[2] == LARGE


async def test_a_part_is_not_taken_for_the_whole_by_those_that_go_by_the_end(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: Reply(body=LARGE, chunked=True, cut=200_000)
    async with client(proxy) as stream:
        await stream.send_all(b"GET /a HTTP/1.0\r\n" + FIELDS + b"\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await all_of(stream)
