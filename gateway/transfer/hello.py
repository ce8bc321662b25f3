"""Connections that begin with TLS: the ClientHello is looked at where it lies, in the kernel's queue.

So whatever becomes of an offer, nothing was taken away: who goes on reads the same bytes.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from braid.errors import BadPacket
from braid.tcp import repair
from braid.tls.hello import PULL, decode_client_hello
from braid.transfer_shape import MOST_WHOLE

if TYPE_CHECKING:
    from braid.tls.hello import ClientHello

HELLO_FOR = 2.0
"""Seconds in which a ClientHello has to come, to be looked at here."""


class Waiting:
    """A connection that is offered. ``moved`` says how that went."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._decided = trio.Event()
        self._moved = False

    def wait(self, _id: bytes, _now: float) -> None:
        """The refusal leads to ``go_on``."""

    def go_on(self, _now: float) -> bool:
        self._decided.set()
        return self._stream.socket.fileno() >= 0

    def give_up(self) -> None:
        repair.dissolve(self._stream.socket)
        self._moved = True
        self._decided.set()

    async def moved(self) -> bool:
        """Whether the connection is elsewhere now; False: it goes on here."""
        await self._decided.wait()
        return self._moved


async def peek(stream: trio.SocketStream) -> ClientHello | None:
    """The ClientHello that a connection begins with, if it is to be offered at all. It stays unread."""
    plain = stream.socket
    found = None
    try:
        with trio.move_on_after(HELLO_FOR):
            found = await _whole(plain)
    except (OSError, BadPacket):
        # Whoever serves the connection meets the same, and counts it.
        return None
    finally:
        if plain.fileno() >= 0:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return None if found is None or not found.sni or PULL in found.alpn else found


async def _whole(plain: trio.socket.SocketType) -> ClientHello | None:
    seen = 0
    while True:
        data = await plain.recv(MOST_WHOLE, socket.MSG_PEEK)
        if len(data) == seen or len(data) == MOST_WHOLE:
            return None
        found = decode_client_hello(data)
        if found is not None:
            return found
        seen = len(data)
        # Readable is what has one byte more, or has come to its end.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
        await trio.lowlevel.wait_readable(plain)
