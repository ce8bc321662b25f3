"""The rest of an answer that another worker had begun, when the origin has to be asked for it."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from content.carry import Answering, Source
from content.connection import ClientConnection
from content.wire import Unkept, Wire
from tests.content.test_service import BODY, fresh
from tests.content.web import HOST, LOOPBACK, Asked, Proxied, Reply, proxied

if TYPE_CHECKING:
    from pathlib import Path

FROM, TO = 1_500, 200_000
REQUEST = f'GET /a HTTP/1.1\r\nHost: {HOST}\r\nIf-None-Match: "0"\r\n\r\n'.encode()
BEGUN = Answering(
    request=len(REQUEST), begin=b"d:\r\n\r\n", source=Source.ORIGIN, offset=FROM, length=TO - FROM, total=len(BODY),
    etag=b'"1"',
)  # fmt: skip


@pytest.fixture
async def proxy(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Proxied:
    return await proxied(nursery, monkeypatch, tmp_path / "store")


async def rest(proxy: Proxied, begun: Answering = BEGUN) -> bytes:
    """All that the client gets, before its connection is reset if it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    client.sendall(REQUEST)
    client.setblocking(False)
    got = bytearray()
    with client, trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.service.serve, accepted, LOOPBACK, Unkept(), begun)
            while True:
                await trio.lowlevel.wait_readable(client)
                try:
                    data = client.recv(65_536)
                except ConnectionResetError:
                    break
                got += data
                if not data or len(got) == len(begun.begin) + begun.length:
                    break
            nursery.cancel_scope.cancel()
    return bytes(got)


# One answer each: what is on its way already is shared, and the two are of different lengths.
@pytest.mark.parametrize(
    ("begun", "body"),
    [
        (BEGUN, BODY[FROM:TO]),
        (replace(BEGUN, offset=2_000_000, length=1000, total=3_000_000), bytes(1000)),
    ],
    ids=["near", "far"],
)
async def test_an_origin_that_knows_ranges_is_asked_for_the_rest(proxy: Proxied, begun: Answering, body: bytes) -> None:
    def reply(asked: Asked) -> Reply:
        assert "if-none-match" not in asked.headers
        if asked.headers.get("if-range") != '"1"' or "range" not in asked.headers:
            return fresh(proxy, etag='"1"')
        first, last = (int(word) for word in asked.headers["range"].removeprefix("bytes=").split("-"))
        told = {"etag": '"1"', "content-range": f"bytes {first}-{last}/{begun.total}"}
        return Reply(206, told, bytes(last - first + 1))

    proxy.origin.reply = reply
    assert await rest(proxy, begun) == begun.begin + body
    if begun.offset > FROM:
        assert proxy.origin.asked[-1].headers["range"] == "bytes=2000000-2000999"


async def test_of_what_is_passed_on_whole_the_rest_is_taken(proxy: Proxied) -> None:
    proxy.origin.reply = lambda _asked: Reply(headers={"etag": '"1"', "cache-control": "no-store"}, body=BODY)
    assert await rest(proxy) == BEGUN.begin + BODY[FROM:TO]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers={"etag": '"2"', "cache-control": "max-age=60"}, body=BODY),
        Reply(headers={"etag": 'W/"1"', "cache-control": "no-store"}, body=BODY),
        Reply(headers={"cache-control": "max-age=60"}, body=BODY),
        Reply(headers={"etag": '"1"', "cache-control": "max-age=60"}, body=BODY + b"more"),
        Reply(404, {"etag": '"1"'}, BODY),
        Reply(206, {"etag": '"1"', "content-range": f"bytes 0-9/{len(BODY)}"}, BODY[:10]),
    ],
)
async def test_another_answer_is_no_rest(proxy: Proxied, reply: Reply) -> None:
    proxy.origin.reply = lambda _asked: reply
    assert await rest(proxy) in (b"", BEGUN.begin)
    assert proxy.events["changed"] == 1


@pytest.mark.parametrize("some", [b"", b"GET /a HTT"])
async def test_a_connection_that_is_idle_ends_in_order_and_not_within_a_head(
    proxy: Proxied, monkeypatch: pytest.MonkeyPatch, some: bytes
) -> None:
    monkeypatch.setattr("content.connection.HEAD_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = await trio.open_tcp_stream(*listener.getsockname())
        accepted, _ = listener.accept()
    cache = proxy.service.cache
    assert cache is not None
    wire = Wire(accepted)
    connection = ClientConnection(wire, LOOPBACK, cache, lambda *_: None, "c-1", lambda: False, idle=0.1)

    async def serve() -> None:
        await connection.serve()
        wire.close()

    async with client:
        await client.send_all(some)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            got = await client.receive_some(65_536)
            took = trio.current_time() - began
    assert got.startswith(b"HTTP/1.1 408") if some else got == b""
    assert took >= (0.3 if some else 0.1)
