"""Requests to the origin of an application, in clear text or by TLS: through the overlay, by VIPs of edges."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections import deque
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING

import h11
import trio

from content.message import Head, field

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from content.message import Request
    from content.sites import Site
    from topology.model import SocketAddress

    Key = tuple[tuple[SocketAddress, ...], str]
    """Addresses, and the name where the origin is asked by TLS."""

CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 30.0
"""Seconds until an answer begins, and between two parts of it."""
IDLE = 15.0
"""Seconds that a connection is kept for the next request."""
MOST_IDLE = 32
"""Kept connections to one address."""
MOST_OPEN = 256
"""Answers under way at one time; what comes beyond waits for ``CONNECT_TIMEOUT``."""
MAX_HEAD = 65_536
CHUNK = 65_536
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, OSError)


class OriginError(Exception):
    """The origin cannot be reached, does not answer in time or not in HTTP. ``status`` is what the client gets;
    ``reason`` is one of ``connect``, ``tls``, ``silent``, ``stalled``, ``broken``, ``busy`` and, of its own word,
    ``error``."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Connection:
    """One to an origin; ``h11`` says in which state it is."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.used = False
        self.since = 0.0

    def close(self) -> None:
        plain = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        plain.socket.close()

    async def send(self, event: h11.Event) -> None:
        data = self.h11.send(event)
        if data:
            await self.stream.send_all(data)

    async def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self.h11.next_event()) is h11.NEED_DATA:
            self.h11.receive_data(bytes(await self.stream.receive_some(CHUNK)))
        return event


class Exchange:
    """An answer that has begun."""

    def __init__(self, origin: Origin, key: Key, connection: Connection, head: Head) -> None:
        self.head = head
        self._origin = origin
        self._key = key
        self._connection = connection

    async def read(self) -> bytes:
        """The next part of the body, nothing at its end. ``OriginError`` when it breaks off."""
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                event = await self._connection.next_event()
        except trio.TooSlowError:
            raise OriginError(504, "stalled") from None
        except _BROKEN:
            raise OriginError(502, "broken") from None
        if isinstance(event, h11.Data):
            self._origin.received += len(event.data)
            return bytes(event.data)
        return b""

    def close(self) -> None:
        """Keeps the connection if the body was read to its end."""
        self._origin.give_back(self._key, self._connection)


class Origin:
    """Connections to all origins. ``close`` ends the kept ones. ``trust`` gives what origins' certificates are checked
    with; None where that cannot be had."""

    def __init__(self, trust: Callable[[], ssl.SSLContext | None] = lambda: None) -> None:
        self.received = 0
        """Bytes of bodies."""
        self._trust = trust
        self._idle: dict[Key, deque[Connection]] = {}
        self._open = trio.CapacityLimiter(MOST_OPEN)

    async def ask(self, site: Site, request: Request, body: AsyncGenerator[bytes, None] | None = None) -> Exchange:
        """Sends a request, to the first address that accepts, and waits for the head of the answer. ``OriginError``.

        A request without a body is sent once more where a kept connection turns out to be closed.
        """
        key = site.addresses, request.host if site.tls else ""
        while True:
            connection = await self._connection(key)
            with trio.move_on_after(CONNECT_TIMEOUT) as waited:
                await self._open.acquire_on_behalf_of(connection)
            if waited.cancelled_caught:
                connection.close()
                raise OriginError(503, "busy")
            again = connection.used and body is None
            connection.used = True
            try:
                head = await self._exchange(connection, request, body)
            except trio.TooSlowError:
                self._drop(connection)
                raise OriginError(504, "silent") from None
            except _BROKEN:
                self._drop(connection)
                if again:
                    continue
                raise OriginError(502, "broken") from None
            except BaseException:
                self._drop(connection)
                raise
            return Exchange(self, key, connection, head)

    async def _exchange(
        self, connection: Connection, request: Request, body: AsyncGenerator[bytes, None] | None
    ) -> Head:
        headers = [(b"host", request.authority.encode()), *request.headers]
        with trio.fail_after(ANSWER_TIMEOUT):
            await connection.send(h11.Request(method=request.method, target=request.target, headers=headers))
        if body is not None:
            async with aclosing(body):
                async for data in body:
                    with trio.fail_after(ANSWER_TIMEOUT):
                        await connection.send(h11.Data(data=data))
        with trio.fail_after(ANSWER_TIMEOUT):
            await connection.send(h11.EndOfMessage())
            while True:
                event = await connection.next_event()
                if isinstance(event, h11.Response):
                    return Head(event.status_code, tuple(event.headers), bytes(event.reason))
                if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                    raise h11.RemoteProtocolError("no answer")

    async def _connection(self, key: Key) -> Connection:
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            if trio.current_time() - connection.since < IDLE:
                return connection
            connection.close()
        addresses, name = key
        for address in addresses:
            with suppress(OSError):
                stream = await _connect(address)
                return Connection(await self._by_tls(stream, name) if name else stream)
        raise OriginError(502, "connect")

    async def _by_tls(self, stream: trio.SocketStream, name: str) -> trio.SSLStream[trio.SocketStream]:
        """Its end has to be said in TLS: a body that ends with its connection could be cut off otherwise."""
        context = self._trust()
        try:
            if context is None:
                raise OriginError(502, "tls")
            tls = trio.SSLStream(stream, context, server_hostname=name)
            with trio.fail_after(CONNECT_TIMEOUT):
                await tls.do_handshake()
        except (trio.TooSlowError, trio.BrokenResourceError, ssl.SSLError):
            stream.socket.close()
            raise OriginError(502, "tls") from None
        except BaseException:
            stream.socket.close()
            raise
        return tls

    def give_back(self, key: Key, connection: Connection) -> None:
        state = connection.h11
        if state.their_state is h11.SEND_BODY:
            # Of a body of known length the end need not have been asked for.
            with suppress(h11.RemoteProtocolError):
                state.next_event()
        if state.our_state is h11.DONE and state.their_state is h11.DONE and not state.trailing_data[0]:
            idle = self._idle.setdefault(key, deque())
            if len(idle) < MOST_IDLE:
                self._open.release_on_behalf_of(connection)
                state.start_next_cycle()
                connection.since = trio.current_time()
                idle.append(connection)
                return
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.release_on_behalf_of(connection)
        connection.close()

    def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


@contextmanager
def origin(trust: Callable[[], ssl.SSLContext | None]) -> Iterator[Origin]:
    made = Origin(trust)
    try:
        yield made
    finally:
        made.close()


def body_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """As Content-Length says."""
    text = field(tuple(headers), b"content-length")
    return int(text) if text is not None and text.isdigit() and len(text) < 19 else None


async def _connect(address: SocketAddress) -> trio.SocketStream:
    family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
    opened = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        with trio.move_on_after(CONNECT_TIMEOUT) as scope:
            await opened.connect((str(address.host), address.port))
        if scope.cancelled_caught:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    except BaseException:
        opened.close()
        raise
    return trio.SocketStream(opened)
