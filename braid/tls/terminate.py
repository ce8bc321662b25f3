"""TLS that ends here: what is decrypted goes on, as a connection of its own, to whoever serves it in clear text."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from braid.streams import CHUNK, pair, reset_on_close
from braid.tcp.progress import acknowledged
from braid.tcp.repair import unsettled
from braid.tls.certificates import asked
from topology.tls import HTTP_2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Serve = Callable[[trio.SocketStream, "Agreed"], Awaitable[bool]]
    """Serves a client on a stream, and closes it; whether it ended in order, not cut off."""

FAREWELL = 2.0
"""Seconds for the last bytes to a client, and for its close."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """By a handshake."""

    sni: str
    """The name that was asked for, lower case; empty without one."""
    alpn: str
    """The protocol; empty without one."""


@dataclass(frozen=True, slots=True)
class Limits:
    handshake: float
    """Seconds."""
    idle: float
    """Seconds that a client of HTTP/2 may be without a request."""
    stall: float
    """Seconds after which a client is dropped that takes nothing of what waits for it; twice as many at most."""


async def terminate(
    stream: trio.SocketStream,
    context: ssl.SSLContext,
    serve: Serve,
    count: Callable[[str], None],
    limits: Limits,
    finishing: trio.Event,
) -> None:
    """Serve a client that speaks TLS, to its end; with HTTP/2 also no longer than to its last answer once ``finishing``
    is set. Closes the stream; survives whatever the client does, and ``count`` hears why it was refused."""
    tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    names: list[str] = []
    asked.set(names)
    try:
        with trio.fail_after(limits.handshake):
            await tls.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError, ssl.CertificateError):
        count("tls_handshake")
        reset_on_close(stream)
        await trio.aclose_forcefully(stream)
        return
    agreed = Agreed(names[0] if names else "", tls.selected_alpn_protocol() or "")

    def clear(far: trio.SocketStream) -> Awaitable[bool]:
        return serve(far, agreed)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drop_stalled, stream, limits.stall, nursery.cancel_scope)
            if agreed.alpn == HTTP_2:
                from braid.tls.http2 import Http2

                await Http2(tls, clear, count, limits.idle, finishing).run()
            else:
                await _carry(tls, stream, clear)
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def _drop_stalled(stream: trio.SocketStream, patience: float, scope: trio.CancelScope) -> None:
    """Whoever serves the client sees only that its own last bytes were taken, and may have ended."""
    before = -1
    while True:
        await trio.sleep(patience)
        try:
            waits, taken = unsettled(stream.socket.fileno()), acknowledged(stream.socket)
        except OSError:
            return
        if waits and taken == before:
            reset_on_close(stream)
            scope.cancel()
        before = taken if waits else -1


async def _carry(
    tls: trio.SSLStream[trio.SocketStream],
    stream: trio.SocketStream,
    serve: Callable[[trio.SocketStream], Awaitable[bool]],
) -> None:
    near, far = pair()
    in_order = False

    async def serving() -> None:
        nonlocal in_order
        in_order = await serve(far)

    async def upwards() -> None:
        try:
            while received := await tls.receive_some(CHUNK):
                await near.send_all(received)
            await near.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            await trio.aclose_forcefully(near)

    async with near, trio.open_nursery() as reading:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving)
            reading.start_soon(upwards)
            try:
                while sent := await near.receive_some(CHUNK):
                    await tls.send_all(sent)
                # The proxy has no more to say, and waits for the client's end.
                near.socket.shutdown(socket.SHUT_WR)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.aclose_forcefully(near)
        reading.cancel_scope.cancel()
    if not in_order:
        reset_on_close(stream)
        return
    # A client that goes by the connection's end wants to hear it in TLS; its own word for it may not come.
    with trio.move_on_after(FAREWELL), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await tls.unwrap()
