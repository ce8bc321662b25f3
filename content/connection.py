"""One client connection: HTTP/1.1 by h11, one request after the other, answers from the cache."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import h11
import trio

from braid.http import smuggled, split_target
from content.answer import Bytes, Stored
from content.asked import read_request, resolve
from content.carry import Answering, Source
from content.growing import Broken
from content.origin import OriginError
from content.rest import asking, send_rest, tell
from content.shape import answer_head
from content.wire import PART, Gone, linger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from content.answer import Answer
    from content.cache import Cache
    from content.message import Request
    from content.ranges import Span
    from content.sites import Site
    from content.wire import Piped, Wire
    from topology.model import IPAddress

HEAD_TIMEOUT = 10.0
"""Seconds that all of a request's head may take to come, from its first byte on, and each part of its body."""
IDLE_TIMEOUT = 60.0
"""Seconds between two requests, of clients that came to this node's own address."""
STALL = 30.0
"""Seconds after which such a client is dropped that takes nothing."""
MAX_HEAD = 65_536
"""As a gateway takes: a connection that moves must not be refused what it was served before."""
SHORT = 4096
"""Bytes of a body up to which it goes out together with its head."""
SAFE = (b"GET", b"HEAD")
ONCE = Answering(source=Source.ONCE)


class Counted:
    """Bytes that are sent past h11, which only counts them."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class Elsewhere(Protocol):
    """Who may have the connection instead of this node. True: it has it now, with the request as it came."""

    @property
    def stays(self) -> bool:
        """It was offered when it was last to be had, and nobody has taken it."""
        ...

    async def before(self, asked: Request | None) -> bool:
        """A request is to be answered; None: one that is for another host."""
        ...

    async def failed(self, asked: Request) -> bool:
        """Its origin is out of reach, which nobody has been told yet."""
        ...

    async def leave(self) -> bool:
        """This node ends; no request, or a part of one, has come."""
        ...


class ClientConnection:
    """``serve`` returns when the connection has come to its end: whether in order, not cut off. Its opener closes the
    wire. ``find`` gives the site of a host and port (None: not written) that is served. ``elsewhere`` is asked
    before each request is answered, and between two when this node ends. ``sent`` hears of bytes that were
    sent. ``idle`` and ``stall``: seconds that a client may be without a request, and take nothing of an answer."""

    def __init__(
        self,
        wire: Wire | Piped,
        client: IPAddress | None,
        cache: Cache,
        find: Callable[[str, int | None], Site | None],
        name: str,
        draining: Callable[[], bool],
        elsewhere: Elsewhere | None = None,
        sent: Callable[[int], None] = lambda _count: None,
        idle: float = IDLE_TIMEOUT,
        stall: float = STALL,
    ) -> None:
        self.busy = False
        """A request is being answered."""
        self._wire = wire
        self._client = client
        self._cache = cache
        self._find = find
        self._name = name
        self._draining = draining
        self._elsewhere = elsewhere
        self._sent = sent
        self._idle = idle
        self._stall = stall
        self._h11 = _parser()
        self._waiting: trio.CancelScope | None = None
        """While nothing comes."""
        self._leaves = False

    def leave(self) -> bool:
        """This node ends, and ``elsewhere`` may have the connection; else it ends too. Whether it is between two
        requests, and asks now. To be called again and again: what the client has yet to acknowledge is waited for."""
        if self._waiting is None or self.busy:
            return False
        self._leaves = True
        self._waiting.cancel()
        return True

    async def serve(self) -> bool:
        try:
            while True:
                asked = await self._next_request()
                if asked is None:
                    if not self._leaves:
                        break
                    if await self._leave():
                        return True
                    if self._stays:
                        break
                    continue
                self.busy = True
                if self._elsewhere is not None and await self._elsewhere.before(self._read(asked)[0]):
                    return True
                if not await self._respond(asked):
                    return True
                self._wire.settle(self._asked())
                self.busy = False
                if not (self._h11.our_state is self._h11.their_state is h11.DONE) or self._ends_here():
                    break
                self._h11.start_next_cycle()
        except Gone:
            with suppress(Gone):
                # Closing on what was not read would reset, and take from the client what it has not read yet.
                self._wire.drop(self._wire.seen)
            return False
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        await self._end()
        return True

    async def _leave(self) -> bool:
        """Whether somebody else has the connection now."""
        self._leaves = False
        assert self._elsewhere is not None
        self.busy = True
        gone = await self._elsewhere.leave()
        self.busy = False
        return gone

    @property
    def _stays(self) -> bool:
        return self._elsewhere is None or self._elsewhere.stays

    def _ends_here(self) -> bool:
        """As this node does; one that somebody else may have leaves between two requests."""
        return self._draining() and self._elsewhere is None

    async def _end(self) -> None:
        with suppress(Gone):
            await linger(self._wire)

    async def go_on(self, begun: Answering, descriptor: int) -> bool:
        """Before ``serve``: send what another worker has not sent of an answer, from the file if it comes from one.
        Whether there may be requests behind it."""
        self.busy = True
        try:
            came = self._wire.peek(begun.request)
            await self._write(begun.begin)
            if begun.source is Source.FILE:
                await self._send_file(descriptor, begun.offset, begun.length)
            elif begun.source is Source.ORIGIN and begun.length:
                await self._send_rest(came, begun)
            self._wire.settle(begun.request)
        except (Gone, Broken):
            return False
        self.busy = False
        if begun.last or self._ends_here():
            await self._end()
            return False
        return True

    async def _send_rest(self, came: bytes, begun: Answering) -> None:
        found = read_request(came, self._find)
        if found is None:
            raise Gone
        request, site, _ = found
        rest = asking(request, begun)
        answer = await self._cache.answer(rest, site, self._client)
        try:
            await send_rest(rest, begun, answer, self._write)
        except (Broken, OriginError):
            self._cache.counts["changed"] += 1
            raise Gone from None
        finally:
            answer.body.close()

    def _asked(self) -> int:
        """Bytes of what came that h11 has done with."""
        return self._wire.seen - len(self._h11.trailing_data[0])

    async def _next_request(self) -> h11.Request | None:
        self._skip_blank_lines()
        begun = bool(self._h11.trailing_data[0])
        until = trio.current_time() + (HEAD_TIMEOUT if begun else self._idle)
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            with trio.move_on_at(until) as waited:
                self._waiting = waited
                self._h11.receive_data(await self._wire.receive())
            self._waiting = None
            if waited.cancelled_caught:
                if begun and not self._leaves:
                    await self._refuse(408)
                return None
            self._skip_blank_lines()
            if not begun and self._h11.trailing_data[0]:
                begun, until = True, trio.current_time() + HEAD_TIMEOUT
        return event if isinstance(event, h11.Request) else None

    def _skip_blank_lines(self) -> None:
        """Some clients send them before a request (RFC 9112 2.2), and gateways do not mind; h11 does."""
        data, ended = self._h11.trailing_data
        if data[:1] in (b"\r", b"\n") and len(data) <= MAX_HEAD:
            self._h11 = _parser()
            if rest := data.lstrip(b"\r\n"):
                self._h11.receive_data(rest)
            if ended:
                self._h11.receive_data(b"")

    async def _respond(self, asked: h11.Request) -> bool:
        """False: somebody else has the connection now, with this request."""
        if asked.method not in SAFE or _has_body(asked):
            self._wire.tell(ONCE)
        if smuggled(asked):
            await self._send(asked, self._cache.own(400, "fwd=bypass; detail=malformed"), None)
            return True
        if asked.method in (b"CONNECT", b"TRACE"):
            await self._send(asked, self._cache.own(501, "fwd=bypass; detail=method"), None)
            return True
        request, site = self._read(asked)
        if request is None or site is None:
            await self._send(asked, self._cache.own(421, "fwd=bypass; detail=host"), None)
            return True
        body = self._body() if _has_body(asked) else None
        answer = await self._cache.answer(request, site, self._client, body)
        try:
            again = answer.unreached and asked.method in SAFE and body is None
            if again and self._elsewhere is not None and await self._elsewhere.failed(request):
                return False
            await self._send(asked, answer, request)
        finally:
            answer.body.close()
        return True

    def _read(self, asked: h11.Request) -> tuple[Request | None, Site | None]:
        target, authority = split_target(asked)
        found = resolve(asked.method, target, authority, tuple(asked.headers), self._find)
        return found or (None, None)

    async def _body(self) -> AsyncGenerator[bytes, None]:
        """Of the request. Raises ``Gone``, and h11's error for what is malformed."""
        if self._h11.they_are_waiting_for_100_continue:
            await self._write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._wire.drop(self._asked())
                with trio.move_on_after(HEAD_TIMEOUT) as waited:
                    self._h11.receive_data(await self._wire.receive())
                if waited.cancelled_caught:
                    raise Gone
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                raise Gone

    async def _send(self, asked: h11.Request, answer: Answer, request: Request | None) -> None:
        head, span = answer_head(request, answer, self._name)
        headers = list(head.headers)
        if not _has_body(asked):
            # Takes in that the request is at its end.
            self._h11.next_event()
        if (self._draining() and self._stays) or self._h11.their_state is h11.SEND_BODY:
            headers.append((b"connection", b"close"))
        begin = self._h11.send(h11.Response(status_code=head.status, headers=headers, reason=head.reason)) or b""
        told = asked.method not in SAFE or _has_body(asked)
        if asked.method == b"HEAD" or (span is not None and span.length == 0):
            begin += self._h11.send(h11.EndOfMessage()) or b""
            if not told:
                tell(self._wire, self._asked(), begin)
            await self._write(begin)
            return
        try:
            await self._send_body(begin, answer, span, told)
        except (Broken, OriginError):
            # The head has promised more: that it will not come only the connection's end says. It has to be no ordinary
            # one where that would be the body's.
            if span is None and self._h11.their_http_version == b"1.0":
                self._wire.reset_on_close()
            raise Gone from None

    async def _send_body(self, begin: bytes, answer: Answer, span: Span | None, told: bool) -> None:
        body = answer.body
        left = None if span is None else span.length
        if span is not None and span.begin:
            await body.skip(span.begin)
        if isinstance(body, Stored | Bytes) and left is not None and left <= SHORT:
            data = await body.read(left)
            if len(data) != left:
                raise Broken("the file is shorter than it was")
            begin += (self._h11.send(h11.Data(data=data)) or b"") + (self._h11.send(h11.EndOfMessage()) or b"")
            if not told:
                tell(self._wire, self._asked(), begin)
            await self._write(begin)
            return
        if not told:
            tell(self._wire, self._asked(), begin, answer, span)
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
        while count:
            try:
                with trio.fail_after(self._stall):
                    sent = await self._wire.send_file(descriptor, offset, count)
            except trio.TooSlowError:
                raise Gone from None
            if sent == 0:
                raise Broken("the file is shorter than it was")
            offset, count = offset + sent, count - sent
            self._cache.counts["client_bytes"] += sent
            self._sent(sent)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            with trio.fail_after(self._stall):
                await self._wire.send(data)
            self._cache.counts["client_bytes"] += len(data)
            self._sent(len(data))
        except trio.TooSlowError:
            raise Gone from None

    async def _refuse(self, status: int) -> None:
        """To what is no request; the connection ends."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._wire.tell(ONCE)
            own = self._cache.own(status, "fwd=bypass; detail=malformed")
            head = h11.Response(status_code=status, headers=[*own.head.headers, (b"connection", b"close")])
            try:
                begin = self._h11.send(head) or b""
                await self._write(begin + (self._h11.send(h11.Data(data=await own.body.read(PART))) or b""))
            except (Gone, h11.LocalProtocolError):
                return


def _parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)


def _has_body(asked: h11.Request) -> bool:
    lengths = [value for name, value in asked.headers if name == b"content-length"]
    return any(name == b"transfer-encoding" for name, _ in asked.headers) or lengths not in ([], [b"0"])
