"""The rest of an answer whose content proxy is gone, from the origin to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from braid.streams import CHUNK, reset_on_close
from gateway.transfer.going_on import ask_for, skipped

if TYPE_CHECKING:
    from gateway.transfer.going_on import Rest

STALL = 30.0
"""Seconds for which client or origin may do nothing."""
MAX_HEAD = 65_536


class Broken(Exception):
    """The origin has another one now, or did not send it to its end; the message, a word, says which."""


async def send_rest(client: trio.SocketStream, origin: trio.SocketStream | None, rest: Rest) -> bool:
    """Send a client what it has not got. ``origin``: a connection to be asked on, closed here; None where nothing is to
    be asked for. True: the client's connection can go on behind it. Else it is closed: reset where the answer is not
    whole. ``Broken`` then."""
    try:
        if not rest.length:
            await _send(client, rest.begin)
        elif origin is None:
            raise Broken("origin")
        else:
            async with origin:
                await _carry(client, origin, rest)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.RemoteProtocolError) as error:
        await _reset(client)
        raise Broken("broken") from error
    except BaseException:
        await _reset(client)
        raise
    if rest.last:
        await client.send_eof()
        await client.aclose()
    return not rest.last


async def _carry(client: trio.SocketStream, origin: trio.SocketStream, rest: Rest) -> None:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    asked = ask_for(rest)
    if asked is None:
        raise Broken("changing")
    await _send(origin, (parser.send(asked) or b"") + (parser.send(h11.EndOfMessage()) or b""))
    head = await _event(parser, origin)
    skip = skipped(rest, head.status_code, head.headers) if isinstance(head, h11.Response) else None
    if skip is None:
        raise Broken("changed")
    await _send(client, rest.begin)
    left = rest.length
    while left:
        event = await _event(parser, origin)
        if not isinstance(event, h11.Data):
            raise Broken("short")
        data = bytes(event.data)[skip : skip + left]
        skip -= min(skip, len(event.data))
        left -= len(data)
        await _send(client, data)


async def _event(parser: h11.Connection, origin: trio.SocketStream) -> object:
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            with trio.fail_after(STALL):
                parser.receive_data(await origin.receive_some(CHUNK))
        elif not isinstance(event, h11.InformationalResponse):
            return event


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with trio.fail_after(STALL):
        await stream.send_all(data)


async def _reset(client: trio.SocketStream) -> None:
    if client.socket.fileno() >= 0:
        reset_on_close(client)
    await trio.aclose_forcefully(client)
