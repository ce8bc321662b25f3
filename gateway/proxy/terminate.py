"""TLS that ends in the gateway: what is decrypted goes on, as a connection of its own, to the application's proxy."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from gateway.proxy.certificates import asked
from gateway.proxy.http2 import Http2
from gateway.proxy.leg import CHUNK, reset_on_close
from gateway.proxy.pair import pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.proxy.events import ClientData
    from gateway.proxy.pool import ProxiedApplication

    Serve = Callable[[trio.SocketStream, ClientData], Awaitable[bool]]
    """Serves a client on a stream, and closes it; whether it ended in order, not cut off."""

FAREWELL = 2.0
"""Seconds for the last bytes to a client, and for its close."""


async def terminate(
    stream: trio.SocketStream,
    context: ssl.SSLContext,
    data: ClientData,
    proxied: ProxiedApplication,
    serve: Serve,
    finishing: trio.Event,
) -> None:
    """Serve a client that speaks TLS, to its end; with HTTP/2 also no longer than to its last answer once ``finishing``
    is set. Closes the stream; survives and counts whatever the client does."""
    tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    names: list[str] = []
    asked.set(names)
    try:
        with trio.fail_after(proxied.settings.select_timeout):
            await tls.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError, ssl.CertificateError):
        proxied.count("tls_handshake")
        reset_on_close(stream)
        await trio.aclose_forcefully(stream)
        return
    protocol = tls.selected_alpn_protocol() or ""
    data = replace(data, tls=True, sni=names[0] if names else "", alpn=protocol)
    try:
        if protocol == "h2":
            await Http2(tls, data, proxied, serve, finishing).run()
        else:
            await _carry(tls, stream, data, serve)
    finally:
        await trio.aclose_forcefully(stream)


async def _carry(
    tls: trio.SSLStream[trio.SocketStream], stream: trio.SocketStream, data: ClientData, serve: Serve
) -> None:
    near, far = pair()
    in_order = False

    async def serving() -> None:
        nonlocal in_order
        in_order = await serve(far, data)

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
        if in_order:
            with trio.move_on_after(FAREWELL), suppress(trio.BrokenResourceError):
                await tls.aclose()
        else:
            reset_on_close(stream)
        reading.cancel_scope.cancel()
