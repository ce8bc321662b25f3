"""An answer on its way to a client: its head, and where its body comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from content.origin import body_length

if TYPE_CHECKING:
    from content.growing import Growing
    from content.message import Head
    from content.origin import Exchange


class Body(Protocol):
    length: int | None
    """Bytes; None while that is not known."""
    whole: bool
    """Parts of it may be taken."""

    async def skip(self, count: int) -> None:
        """Called first, if at all."""
        ...

    async def read(self, most: int) -> bytes:
        """The next part, nothing at the end. Raises ``Broken`` or ``OriginError`` when it breaks off."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Answer:
    head: Head
    body: Body
    status: str
    """Of the cache: what ``Cache-Status`` says behind its name (RFC 9211)."""
    age: float | None = None
    """Seconds; None when it comes from the origin just now."""
    unreached: bool = False
    """It says that no origin has heard of the request."""


class Bytes:
    """Of the proxy's own making."""

    whole = False

    def __init__(self, data: bytes) -> None:
        self.length: int | None = len(data)
        self._data = data

    async def skip(self, count: int) -> None:
        self._data = self._data[count:]

    async def read(self, most: int) -> bytes:
        data, self._data = self._data[:most], self._data[most:]
        return data

    def close(self) -> None:
        pass


class Stored:
    """In a file, which may go meanwhile: the descriptor keeps its bytes."""

    whole = True

    def __init__(self, descriptor: int, length: int) -> None:
        self.length: int | None = length
        self.descriptor = descriptor
        self.position = 0

    async def skip(self, count: int) -> None:
        self.position += count

    async def read(self, most: int) -> bytes:
        data = os.pread(self.descriptor, most, self.position)
        self.position += len(data)
        return data

    def close(self) -> None:
        os.close(self.descriptor)


class Arriving:
    """Being fetched, for this client and perhaps others."""

    def __init__(self, growing: Growing, head: Head) -> None:
        self.length = body_length(head.headers)
        self.whole = self.length is not None
        self._growing = growing
        self._reader = growing.join()

    async def skip(self, count: int) -> None:
        self._growing.skip(self._reader, count)

    async def read(self, most: int) -> bytes:
        return await self._growing.read(self._reader, most)

    def close(self) -> None:
        self._growing.leave(self._reader)


class Passing:
    """From the origin for this client alone."""

    whole = False

    def __init__(self, exchange: Exchange) -> None:
        self.length = body_length(exchange.head.headers)
        self._exchange = exchange

    async def skip(self, count: int) -> None:
        raise AssertionError("the origin was asked for what the client wants")

    async def read(self, most: int) -> bytes:
        return await self._exchange.read()

    def close(self) -> None:
        self._exchange.close()
