"""One client connection: HTTP/1.1 by h11, one request after the other, answers from the cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import h11
import trio

from braid.http import smuggled, split_target, without_port
from content.answer import Answer, Stored
from content.growing import Broken
from content.message import Request, without
from content.origin import OriginError
from content.shape import shape

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from content.cache import Cache
    from content.ranges import Span
    from content.sites import Site
    from topology.model import IPAddress

HEAD_TIMEOUT = 10.0
"""Seconds that a request's head may take to come, from its first byte on, and each part of its body."""
IDLE_TIMEOUT = 60.0
"""Seconds between two requests."""
STALL = 30.0
"""Seconds after which a client that takes nothing is dropped."""
LINGER = 2.0
"""Seconds for a client that was refused to read why."""
MAX_HEAD = 32_768
PART = 65_536
FILE_PART = 1 << 20


class Gone(Exception):
    """The client has left, or takes nothing any more, or cannot be answered to the end."""


class Counted:
    """Bytes that are sent past h11, which only counts them."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class ClientConnection:
    """``serve`` returns when the connection has come to its end: whether in order, not cut off. The stream is its
    opener's to close. ``find`` gives the site of a host and port (None: not written) that is served. ``elsewhere`` is
    asked before each request is answered, with its bytes: True if somebody else has the connection now. ``sent`` hears
    of bytes that were sent."""

    def __init__(
        self,
        stream: trio.SocketStream,
        client: IPAddress | None,
        cache: Cache,
        find: Callable[[str, int | None], Site | None],
        name: str,
        draining: Callable[[], bool],
        elsewhere: Callable[[Request | None, bytes], Awaitable[bool]] | None = None,
        sent: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.busy = False
        """A request is being answered."""
        self._stream = stream
        self._client = client
        self._cache = cache
        self._find = find
        self._name = name
        self._draining = draining
        self._elsewhere = elsewhere
        self._sent = sent
        self._came = bytearray()
        """Since the request before."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def serve(self) -> bool:
        try:
            while (asked := await self._next_request()) is not None:
                self.busy = True
                if self._elsewhere is not None and await self._elsewhere(self._read(asked)[0], bytes(self._came)):
                    return True
                await self._respond(asked)
                self.busy = False
                if not (self._h11.our_state is self._h11.their_state is h11.DONE) or self._draining():
                    return True
                self._h11.start_next_cycle()
        except Gone:
            return False
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        return True

    async def _next_request(self) -> h11.Request | None:
        limit = IDLE_TIMEOUT
        self._came[:] = self._h11.trailing_data[0]
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            with trio.move_on_after(limit) as waited:
                self._h11.receive_data(await self._receive())
            if waited.cancelled_caught:
                if limit is HEAD_TIMEOUT:
                    await self._refuse(408)
                return None
            limit = HEAD_TIMEOUT
        return event if isinstance(event, h11.Request) else None

    async def _respond(self, asked: h11.Request) -> None:
        if smuggled(asked):
            await self._send(asked, self._cache.own(400, "fwd=bypass; detail=malformed"), None)
            return
        if asked.method in (b"CONNECT", b"TRACE"):
            await self._send(asked, self._cache.own(501, "fwd=bypass; detail=method"), None)
            return
        request, site = self._read(asked)
        if request is None or site is None:
            await self._send(asked, self._cache.own(421, "fwd=bypass; detail=host"), None)
            return
        body = self._body() if _has_body(asked) else None
        answer = await self._cache.answer(request, site, self._client, body)
        try:
            await self._send(asked, answer, request)
        finally:
            answer.body.close()

    def _read(self, asked: h11.Request) -> tuple[Request | None, Site | None]:
        return _read(asked, self._find)

    async def _body(self) -> AsyncGenerator[bytes, None]:
        """Of the request. Raises ``Gone``, and h11's error for what is malformed."""
        if self._h11.they_are_waiting_for_100_continue:
            await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                with trio.move_on_after(HEAD_TIMEOUT) as waited:
                    self._h11.receive_data(await self._receive())
                if waited.cancelled_caught:
                    raise Gone
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                raise Gone

    async def _send(self, asked: h11.Request, answer: Answer, request: Request | None) -> None:
        head, span = shape(request, answer.head, answer.body.length, answer.body.whole)
        headers = list(head.headers if answer.age is None else without(head.headers, b"age"))
        if answer.age is not None:
            headers.append((b"age", b"%d" % answer.age))
        headers.append((b"via", f"1.1 {self._name}".encode()))
        headers.append((b"cache-status", f"{self._name}; {answer.status}".encode()))
        if not _has_body(asked):
            # Takes in that the request is at its end.
            self._h11.next_event()
        if self._draining() or self._h11.their_state is h11.SEND_BODY:
            headers.append((b"connection", b"close"))
        begin = self._h11.send(h11.Response(status_code=head.status, headers=headers, reason=head.reason)) or b""
        if asked.method == b"HEAD" or (span is not None and span.length == 0):
            await self._write(begin + (self._h11.send(h11.EndOfMessage()) or b""))
            return
        try:
            await self._send_body(begin, answer, span)
        except (Broken, OriginError):
            # The head has promised more: that it will not come only the connection's end says.
            raise Gone from None

    async def _send_body(self, begin: bytes, answer: Answer, span: Span | None) -> None:
        body = answer.body
        left = None if span is None else span.length
        if span is not None and span.begin:
            await body.skip(span.begin)
        if isinstance(body, Stored) and left is not None and left > PART:
            await self._write(begin)
            self._h11.send_with_data_passthrough(h11.Data(data=Counted(left)))  # type: ignore[arg-type]
            await self._send_file(body.descriptor, body.position, left)
            begin, left = b"", 0
        while left != 0:
            data = await body.read(PART if left is None else min(PART, left))
            if not data:
                break
            data = data if left is None else data[:left]
            left = None if left is None else left - len(data)
            await self._write(begin + (self._h11.send(h11.Data(data=data)) or b""))
            begin = b""
        if left:
            raise Broken("shorter than it was said to be")
        await self._write(begin + (self._h11.send(h11.EndOfMessage()) or b""))

    async def _send_file(self, descriptor: int, offset: int, count: int) -> None:
        """From the page cache to the socket. A part that is not in it yet is waited for by the whole node, which a
        local disk makes short."""
        sock = self._stream.socket
        while count:
            try:
                sent = os.sendfile(sock.fileno(), descriptor, offset, min(count, FILE_PART))
            except BlockingIOError:
                with trio.move_on_after(STALL) as waited:
                    await trio.lowlevel.wait_writable(sock)
                if waited.cancelled_caught:
                    raise Gone from None
                continue
            except OSError:
                raise Gone from None
            if sent == 0:
                raise Broken("the file is shorter than it was")
            offset, count = offset + sent, count - sent
            self._cache.counts["client_bytes"] += sent
            self._sent(sent)
            await trio.lowlevel.checkpoint()

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(PART))
            if self._elsewhere is not None:
                self._came += data
            return data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            with trio.fail_after(STALL):
                await self._stream.send_all(data)
            self._cache.counts["client_bytes"] += len(data)
            self._sent(len(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise Gone from None

    async def _refuse(self, status: int) -> None:
        """To what is no request; the connection ends."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            own = self._cache.own(status, "fwd=bypass; detail=malformed")
            head = h11.Response(status_code=status, headers=[*own.head.headers, (b"connection", b"close")])
            try:
                begin = self._h11.send(head) or b""
                await self._write(begin + (self._h11.send(h11.Data(data=await own.body.read(PART))) or b""))
                await self._linger()
            except (Gone, h11.LocalProtocolError):
                return

    async def _linger(self) -> None:
        """Take what the client still sends: closing on it would reset, and it might not get to read the answer."""
        with trio.move_on_after(LINGER):
            try:
                await self._stream.send_eof()
                while await self._receive():
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


def _read(asked: h11.Request, find: Callable[[str, int | None], Site | None]) -> tuple[Request | None, Site | None]:
    target, authority = split_target(asked)
    text = authority.decode("latin-1").lower()
    host = without_port(text)
    _, colon, port = text.rpartition(":")
    written = colon and port.isascii() and port.isdigit() and len(port) < 6
    site = find(host, int(port) if written else None)
    if site is None or not (target.startswith(b"/") or target == b"*"):
        return None, None
    # A fragment is none of the server's business, and would make another key.
    headers = tuple(asked.headers)
    return Request(asked.method, host, site.port, target.partition(b"#")[0], headers, site.https), site


def read_request(data: bytes, find: Callable[[str, int | None], Site | None]) -> Request | None:
    """The request that is all of these bytes, without a body; None for anything else, and for hosts of others."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        parser.receive_data(data)
        asked = parser.next_event()
        whole = isinstance(asked, h11.Request) and isinstance(parser.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return None
    if not isinstance(asked, h11.Request) or not whole or parser.trailing_data[0] or smuggled(asked):
        return None
    return _read(asked, find)[0]


def _has_body(asked: h11.Request) -> bool:
    lengths = [value for name, value in asked.headers if name == b"content-length"]
    return any(name == b"transfer-encoding" for name, _ in asked.headers) or lengths not in ([], [b"0"])
