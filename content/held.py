"""The wire of a transferred connection, which is answered before its socket may emit.

Its first request is known from the record, as a frozen socket gives nothing. The first part of the answer waits, and
goes out in the call that says that it may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from content.wire import Wire

if TYPE_CHECKING:
    import socket

    from content.carry import Answering
    from content.wire import Keeping


class HeldWire(Wire):
    """``came``: what waits in the frozen socket's queue."""

    def __init__(self, frozen: socket.socket, came: bytes) -> None:
        super().__init__(frozen)
        self.started = trio.Event()
        self._came = came
        self._told: tuple[Answering, int | None] | None = None
        self._first = b""
        self._sent = 0
        """Of ``_first``."""

    def keep(self, keeping: Keeping) -> None:
        """To be called before the socket is thawed."""
        self._keeping = keeping
        if self._told is not None:
            super().tell(*self._told)

    def start(self) -> int:
        """The socket is thawed. Bytes that went out at once, of an answer that was waiting."""
        self.started.set()
        if self._first:
            try:
                self._sent = self.socket.send(self._first)
            except OSError:
                # Whoever sends the rest meets the same.
                return 0
            self.written += self._sent
        return self._sent

    def tell(self, answering: Answering, descriptor: int | None = None) -> None:
        if self.started.is_set():
            super().tell(answering, descriptor)
        else:
            self._told = answering, descriptor

    async def receive(self) -> bytes:
        if not self._came:
            return await super().receive()
        await trio.lowlevel.checkpoint()
        came, self._came = self._came, b""
        self.seen = len(came)
        return came

    async def send(self, data: bytes) -> None:
        if not self.started.is_set():
            self._first = data
            await self.started.wait()
            data, self._first = data[self._sent :], b""
        await super().send(data)
