"""One end of the socket pair between keeper and worker: messages and descriptors, in order."""

from __future__ import annotations

import array
import os
import select
import socket
from collections import deque
from typing import TYPE_CHECKING

import trio

from braid.errors import BadPacket
from content.words import MOST, decode, encode

if TYPE_CHECKING:
    from content.words import Word

MOST_DESCRIPTORS = 1
BATCH = 64
"""Messages that are taken before others have their turn."""
PATIENCE = 10_000
"""Milliseconds that the worker waits for the keeper to read."""
MOST_WAITING = 4096
"""Messages of the keeper that a slow worker has not read."""
_ANCILLARY = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)


class Silent(Exception):
    """The other end has gone, or reads nothing any more."""


def pair() -> tuple[socket.socket, socket.socket]:
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST)
    return ends


class Channel:
    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._buffer = bytearray(MOST)
        self._waiting: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._more = trio.Event()
        self._less = trio.Event()
        """Nothing waits."""

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def send(self, word: Word, *descriptors: int) -> None:
        """Now, or as soon as the other end has read: waits for it. ``Silent``."""
        self.send_encoded(encode(word), *descriptors)

    def send_encoded(self, message: bytes, *descriptors: int) -> None:
        """The same for a word that was ``encode``d before."""
        while not self._sent(message, descriptors):
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT)
            if not poll.poll(PATIENCE):
                raise Silent("it reads nothing")

    def post(self, word: Word, *descriptors: int) -> None:
        """Never waits: ``flush`` sends what cannot go now, so the descriptors have to last. ``Silent`` when too much
        waits."""
        message = encode(word)
        if self._waiting or not self._sent(message, descriptors):
            if len(self._waiting) >= MOST_WAITING:
                raise Silent("it reads nothing")
            self._waiting.append((message, descriptors))
            self._more.set()

    async def flush(self) -> None:
        """Send what was posted. Never returns; ``Silent`` when the other end has gone."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._waiting:
                if self._sent(*self._waiting[0]):
                    self._waiting.popleft()
                else:
                    await trio.lowlevel.wait_writable(self._socket)
            self._less.set()

    async def flushed(self) -> None:
        """Until all that was posted is sent, while somebody runs ``flush``."""
        if self._waiting:
            if self._less.is_set():
                self._less = trio.Event()
            await self._less.wait()

    async def receive(self, gather: float = 0.0) -> list[tuple[Word, list[int]]]:
        """What has come, at least one, and what comes in so many seconds more; nothing when the other end is closed.
        The descriptors are the caller's. Raises ``BadPacket``, behind what came before it."""
        await trio.lowlevel.wait_readable(self._socket)
        if gather:
            await trio.sleep(gather)
        found: list[tuple[Word, list[int]]] = []
        while len(found) < BATCH:
            try:
                length, ancillary, flags, _ = self._socket.recvmsg_into(
                    [self._buffer], _ANCILLARY, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                if found:
                    break
                await trio.lowlevel.wait_readable(self._socket)
                continue
            except ConnectionError:
                length, ancillary, flags = 0, [], 0
            if not length:
                return found
            descriptors = _descriptors(ancillary)
            try:
                if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                    raise BadPacket("word_truncated")
                found.append((decode(bytes(memoryview(self._buffer)[:length])), descriptors))
            except BadPacket:
                for descriptor in descriptors:
                    os.close(descriptor)
                raise
        return found

    def _sent(self, message: bytes, descriptors: tuple[int, ...]) -> bool:
        """False: not now."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._socket.sendmsg([message], rights)
        except BlockingIOError:
            return False
        except ConnectionError as error:
            raise Silent("it has gone") from error
        return True


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()
