"""One TCP connection of a proxied pair: a bounded queue of bytes to send, and what comes in.

Whenever another task runs, each byte is in the kernel, in the queue, or with the call of ``receive`` that got it: so a
connection can be taken away from here without losing or doubling one.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import trio

from braid.streams import CHUNK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUEUE = 262_144
"""Bytes that wait for a slow reader; the other side is not read while there are as many."""
_SMALL, _LARGE = 65_536, 2_097_152
"""Bytes of payload and the kernel's own for them: as buffers are at first, and what they would grow to."""
_SO_RCVBUFFORCE = 33
_BYTES_ACKED = struct.Struct("=Q")
_BYTES_ACKED_AT = 120
"""In the kernel's ``struct tcp_info`` (linux/tcp.h)."""


class Leg:
    def __init__(self, stream: trio.SocketStream, progress: Callable[[], None]) -> None:
        self.stream = stream
        self.bytes_in = self.bytes_out = 0
        self._progress = progress
        self._queue = bytearray()
        self._end = False
        self._work = trio.Event()

    @property
    def full(self) -> bool:
        return len(self._queue) >= QUEUE

    @property
    def queued(self) -> bytes:
        """What was put and the kernel does not have yet."""
        return bytes(self._queue)

    @property
    def ending(self) -> bool:
        return self._end

    def put(self, data: bytes) -> None:
        self._queue += data
        self._work.set()

    def end(self) -> None:
        """FIN, behind what is queued."""
        self._end = True
        self._work.set()

    def acknowledged(self) -> int:
        """Bytes that have reached the other end, of all that was sent; 0 where the other end is in this process."""
        if self.stream.socket.family == socket.AF_UNIX:
            return 0
        information = self.stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size + _BYTES_ACKED_AT)
        acknowledged: int = _BYTES_ACKED.unpack_from(information, _BYTES_ACKED_AT)[0]
        return acknowledged

    async def write(self) -> None:
        """Send what is put until ``end``. Raises OSError, trio.BrokenResourceError and trio.ClosedResourceError."""
        while True:
            if self._queue:
                try:
                    sent = os.write(self._descriptor(), self._queue)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._descriptor())
                    continue
                del self._queue[:sent]
                self.bytes_out += sent
                self._progress()
            elif self._end:
                await self.stream.send_eof()
                return
            else:
                await self._work.wait()
                self._work = trio.Event()

    async def read(self, may_read: Callable[[], Awaitable[None]], receive: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand on what comes, ``b""`` at its end; ``may_read`` waits until there is room for more. Raises as ``write``
        does."""
        while True:
            await may_read()
            try:
                data = os.read(self._descriptor(), CHUNK)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._descriptor())
                continue
            self.bytes_in += len(data)
            await receive(data)
            if not data:
                return

    def _descriptor(self) -> int:
        """Asked for anew each time: another connection may have the number of one that was closed."""
        descriptor = self.stream.socket.fileno()
        if descriptor < 0:
            raise trio.ClosedResourceError("this connection has been closed or taken away")
        return descriptor


def keep_short(descriptor: int, *, short: bool) -> None:
    """Keep what the peer may send before it is read as little as it is at first; or let it be much. For a connection
    that is there: before, the window's scale would go by it."""
    if descriptor < 0:
        return
    with socket.socket(fileno=os.dup(descriptor)) as opened:
        if short:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        else:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _LARGE)
