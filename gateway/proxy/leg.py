"""One TCP connection of a proxied pair: a bounded queue of bytes to send, and what comes in."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUEUE = 262_144
"""Bytes that wait for a slow reader; the other side is not read while there are as many."""
CHUNK = 65_536
_LINGER = struct.pack("ii", 1, 0)
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
        """Send what is put until ``end``. Raises trio.BrokenResourceError and trio.ClosedResourceError."""
        while True:
            if self._queue:
                batch = bytes(self._queue)
                self._queue.clear()
                await self.stream.send_all(batch)
                self.bytes_out += len(batch)
                self._progress()
            elif self._end:
                await self.stream.send_eof()
                return
            else:
                await self._work.wait()
                self._work = trio.Event()

    async def read(self, may_read: Callable[[], Awaitable[None]], receive: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand on what comes, ``b""`` at its end; ``may_read`` waits until there is room for more."""
        while True:
            await may_read()
            data = await self.stream.receive_some(CHUNK)
            self.bytes_in += len(data)
            await receive(data)
            if not data:
                return


def reset_on_close(stream: trio.SocketStream) -> None:
    """RST instead of FIN when it is closed."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
