"""The body of an answer while it comes: written once, read by any number of clients, each at its own pace."""

from __future__ import annotations

import errno
import os
import zlib
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_FULL = errno.ENOSPC, errno.EDQUOT


class Broken(Exception):
    """The rest of the body will not come, or is not there any more."""


class Growing:
    """In a file, so that a slow client costs no memory. A body that outgrows ``limit``, or the disk, is not kept: from
    then on the file holds the newest part alone, and writing waits for the slowest reader.

    Owns the descriptor: it is closed after ``end``, when the last reader has left."""

    def __init__(self, descriptor: int, limit: int, make_room: Callable[[int], Awaitable[None]]) -> None:
        """``make_room`` is called when the disk is full, with the bytes that have come."""
        self.length = self.crc = 0
        """Of all that was written."""
        self.complete = False
        self.kept = True
        """The file holds all of it."""
        self.problem: OSError | None = None
        """Why it is not kept, where the disk says so."""
        self.descriptor = descriptor
        self._limit = limit
        self._make_room = make_room
        self._base = 0
        """Where in the body the file begins."""
        self._failed = False
        self._readers: dict[object, int] = {}
        """How far each has come."""
        self._moved = trio.Event()
        self._ended = False

    @property
    def readers(self) -> int:
        return len(self._readers)

    def join(self) -> object:
        """A new reader, at the beginning; it has to ``leave``."""
        if self._base or self.descriptor < 0:
            raise Broken("the beginning is gone")
        reader = object()
        self._readers[reader] = 0
        return reader

    def leave(self, reader: object) -> None:
        self._readers.pop(reader, None)
        self._stir()
        self._close()

    def end(self) -> None:
        """The writer has no more to do with it."""
        self._ended = True
        self._close()

    def _close(self) -> None:
        if self._ended and not self._readers and self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    async def append(self, data: bytes) -> None:
        """Raises ``Broken`` when it is not to be kept and nobody reads it; OSError when not even a part has room."""
        if self.length - self._base + len(data) > self._limit:
            await self._begin_anew()
        # To the page cache: the disk is not waited for.
        try:
            write_at(self.descriptor, data, self.length - self._base)
        except OSError as error:
            await self._write_again(data, error)
        self.length += len(data)
        self.crc = zlib.crc32(data, self.crc)
        self._stir()

    async def _write_again(self, data: bytes, error: OSError) -> None:
        if is_full(error):
            await self._make_room(self.length + len(data))
            try:
                write_at(self.descriptor, data, self.length - self._base)
            except OSError as again:
                error = again
            else:
                return
        self.problem = error
        await self._begin_anew()
        write_at(self.descriptor, data, 0)

    async def _begin_anew(self) -> None:
        """The file is empty, when everybody has read what was in it."""
        self.kept = False
        while any(position < self.length for position in self._readers.values()):
            await self._change()
        if not self._readers:
            raise Broken("nobody reads it")
        os.ftruncate(self.descriptor, 0)
        self._base = self.length

    def finish(self) -> None:
        self.complete = True
        self._stir()

    def fail(self) -> None:
        self._failed = True
        self._stir()

    async def read(self, reader: object, most: int) -> bytes:
        """What comes next for a reader, at most so many bytes; nothing at the end of the body. ``Broken``."""
        position = self._readers[reader]
        while position >= self.length and not self.complete:
            if self._failed:
                raise Broken("the origin broke off")
            await self._change()
        data = os.pread(self.descriptor, max(0, min(most, self.length - position)), position - self._base)
        self._readers[reader] = position + len(data)
        if not self.kept:
            self._stir()
        return data

    def skip(self, reader: object, position: int) -> None:
        """The reader wants nothing before ``position``; what has not come yet is waited for by ``read``."""
        self._readers[reader] = position

    async def _change(self) -> None:
        await self._moved.wait()

    def _stir(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


def is_full(error: Exception) -> bool:
    """Whether the disk has no more room."""
    return isinstance(error, OSError) and error.errno in _FULL


def write_at(descriptor: int, data: bytes, position: int) -> None:
    """All of it: a disk that is nearly full takes a part, and says why only when it is asked for the rest."""
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written
