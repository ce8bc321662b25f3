"""A client's connection at the worker, kept so that another worker could go on with it (``content.carry``)."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from braid.streams import RESETS
from braid.tcp.progress import has_ended
from braid.tcp.repair import unsettled
from content.carry import Answering, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PART = 65_536
BLOCK = 1 << 20
"""Bytes of a file that one call hands over."""
LINGER = 2.0
"""Seconds that a client may go without taking any of the last bytes before its connection is dropped."""
_UNSENT = 16_384
"""Bytes in the kernel that have not been sent, above which it takes no more."""
_NOTSENT_LOWAT = 25
_TO_SETTLE = frozenset((Source.UNKNOWN, Source.ONCE, Source.BACK))


class Gone(Exception):
    """The client has left, or takes nothing any more, or cannot be answered to the end."""


class Keeping(Protocol):
    """Who hears what is being sent. A descriptor stays the caller's. ``know``: of a transferred connection, what the
    next worker needs."""

    def know(self, data: bytes) -> None: ...
    def told(self, answering: Answering, descriptor: int | None = None) -> None: ...
    def settled(self) -> None: ...
    def ended(self) -> None: ...


class Unkept:
    """Nobody does."""

    def know(self, data: bytes) -> None:
        pass

    def told(self, answering: Answering, descriptor: int | None = None) -> None:
        pass

    def settled(self) -> None:
        pass

    def ended(self) -> None:
        pass


class Wire:
    """What came stays in the kernel until it is done with. ``Gone`` when the client has."""

    def __init__(self, opened: socket.socket, keeping: Keeping | None = None) -> None:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT)
        self.socket = opened
        self.seen = 0
        """Bytes that ``receive`` has given and that are not done with."""
        self.read = self.written = 0
        """Bytes done with, and bytes sent."""
        self._keeping = keeping or Unkept()
        self._unsettled = False
        self._least = 1

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    @property
    def left(self) -> int:
        """Bytes that the client has not acknowledged."""
        return unsettled(self.socket.fileno())

    def reset_on_close(self) -> None:
        """Its end is to be heard as cut off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)

    def stream(self) -> trio.SocketStream:
        """The same connection, for what reads and writes by itself and closes it."""
        return trio.SocketStream(trio.socket.from_stdlib_socket(self.socket))

    def tell(self, answering: Answering, descriptor: int | None = None) -> None:
        """To be called before the first byte of an answer, and before what must not happen twice."""
        self._keeping.told(answering, descriptor)
        self._unsettled = answering.source in _TO_SETTLE

    def settle(self, count: int) -> None:
        """So many bytes are done with, and what was told is over."""
        self.drop(count)
        if self._unsettled:
            self._unsettled = False
            self._keeping.settled()

    def drop(self, count: int) -> None:
        """So many bytes are done with, while what was told goes on."""
        self.seen -= count
        self.read += count
        while count:
            dropped = len(self._recv(count, socket.MSG_TRUNC))
            if not dropped:
                raise Gone
            count -= dropped

    def peek(self, count: int) -> bytes:
        """So many bytes that came before; they count as seen."""
        data = self._recv(count, socket.MSG_PEEK) if count else b""
        if len(data) != count:
            raise Gone
        self.seen = count
        return data

    async def receive(self) -> bytes:
        """What comes next; nothing at the end."""
        while True:
            try:
                data = self._recv(self.seen + PART, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            else:
                if len(data) > self.seen:
                    await trio.lowlevel.checkpoint()
                    data, self.seen = data[self.seen :], len(data)
                    return data
                if not self.seen or has_ended(self.socket):
                    return b""
            if self._least != self.seen + 1:
                # What was seen already is no news.
                self._least = self.seen + 1
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, self._least)
            await self._wait(trio.lowlevel.wait_readable)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                try:
                    count = self.socket.send(view[sent:])
                except BlockingIOError:
                    await self._wait(trio.lowlevel.wait_writable)
                    continue
                except OSError:
                    raise Gone from None
                sent += count
                self.written += count

    async def send_file(self, descriptor: int, offset: int, count: int) -> int:
        """Some of it, from the page cache to the socket; 0 where the file ends. A part that is not in it yet is waited
        for by the whole worker, which a local disk makes short."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                sent = os.sendfile(self.socket.fileno(), descriptor, offset, min(count, BLOCK))
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_writable)
                continue
            except OSError:
                raise Gone from None
            self.written += sent
            return sent

    def end(self) -> None:
        """No more is sent."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise Gone from None

    def _recv(self, count: int, flags: int) -> bytes:
        try:
            return self.socket.recv(count, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise
        except OSError:
            raise Gone from None

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await until(self.socket)
        except trio.ClosedResourceError:
            raise Gone from None


class Piped:
    """The same for what comes from within this process, and cannot go on without it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.seen = self.read = self.written = 0
        self._stream = stream

    def close(self) -> None:
        self._stream.socket.close()

    @property
    def left(self) -> int:
        return unsettled(self._stream.socket.fileno())

    def reset_on_close(self) -> None:
        """Who carries it is told that it was cut off, and has a word for it."""

    def tell(self, answering: Answering, descriptor: int | None = None) -> None:
        pass

    def settle(self, count: int) -> None:
        self.drop(count)

    def drop(self, count: int) -> None:
        self.seen -= count

    def peek(self, count: int) -> bytes:
        raise AssertionError("nothing was begun")

    async def receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(PART))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None
        self.seen += len(data)
        return data

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None

    async def send_file(self, descriptor: int, offset: int, count: int) -> int:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return os.sendfile(self._stream.socket.fileno(), descriptor, offset, min(count, BLOCK))
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_writable(self._stream.socket)
                except trio.ClosedResourceError:
                    raise Gone from None
            except OSError:
                raise Gone from None

    def end(self) -> None:
        try:
            self._stream.socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise Gone from None


def close_file(descriptor: int) -> int:
    """If there is one. Returns what stands for none."""
    if descriptor >= 0:
        os.close(descriptor)
    return -1


async def linger(wire: Wire | Piped) -> None:
    """Send no more, and take what still comes until the client has read all and closed, however slow it is, as long as
    it takes some: closing on what nobody read would reset, and take from it what it has not got yet."""
    left = -1
    wire.end()
    while True:
        with trio.move_on_after(LINGER):
            while await wire.receive():
                wire.drop(wire.seen)
            return
        before, left = left, wire.left
        if left in (0, before):
            return
