"""The rest of an answer, from an origin to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from braid.streams import pair
from gateway.transfer.rescue import Broken, send_rest
from tests.gateway.test_going_on import LEFT, rest

if TYPE_CHECKING:
    from gateway.transfer.going_on import Rest

from dataclasses import replace

BODY = bytes(range(10, 100))
WHOLE = bytes(range(256)) * 4
HEAD = b'HTTP/1.1 206 Partial\r\nETag: "1"\r\nContent-Range: bytes 10-99/1000\r\nContent-Length: 90\r\n\r\n'


async def sent(asked: Rest, answer: bytes | None) -> tuple[bytes, bool | str]:
    """What the client gets, and whether it goes on, or why not; ``answer``: of the origin, which ends behind it."""
    client, far = pair()
    origin, server = pair()
    async with trio.open_nursery() as nursery:
        if answer is not None:

            async def serve() -> None:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += await server.receive_some(4096)
                await server.send_all(answer)
                await server.aclose()

            nursery.start_soon(serve)
        try:
            outcome: bool | str = await send_rest(far, None if answer is None else origin, asked)
        except Broken as error:
            outcome = str(error)
    if outcome is True:
        await far.aclose()
    got = b""
    async with client:
        try:
            while data := await client.receive_some(65_536):
                got += data
        except trio.BrokenResourceError:
            pass
    for stream in (origin, server):
        await stream.aclose()
    return got, outcome


async def test_head_and_body_go_on_where_they_were() -> None:
    asked = replace(rest(), begin=b"the end of the head")
    assert await sent(asked, HEAD + BODY) == (asked.begin + BODY, True)
    assert await sent(replace(asked, last=True), HEAD + BODY) == (asked.begin + BODY, False)


async def test_an_origin_that_sends_all_of_it() -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 1000\r\n\r\n'
    assert await sent(rest(), head + WHOLE[:1000]) == (WHOLE[10:100], True)


async def test_without_a_rest_nobody_is_asked() -> None:
    assert await sent(replace(rest(), begin=b"head", length=0), None) == (b"head", True)


@pytest.mark.parametrize(
    ("answer", "why", "got"),
    [
        (HEAD.replace(b'"1"', b'"2"') + BODY, "changed", b""),
        (HEAD + BODY[:20], "broken", BODY[:20]),
        (b"nonsense\r\n\r\n", "broken", b""),
        (b"", "broken", b""),
        (None, "origin", b""),
    ],
)
async def test_what_cannot_go_on_ends_the_connection(answer: bytes | None, why: str, got: bytes) -> None:
    assert await sent(rest(), answer) == (got, why)


async def test_a_client_that_has_gone() -> None:
    client, far = pair()
    await client.aclose()
    with pytest.raises(Broken):
        await send_rest(far, None, replace(rest(), begin=b"head", length=0))
    assert LEFT.unread
