"""HTTP/2 of one client (RFC 9113), by h2: each stream becomes an HTTP/1.1 connection to whoever serves those.

So whoever does needs not know of it. What a client may have under way is bounded by the
windows that it is given; what it may do for nothing, by ``Budget``.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11
import trio
from hyperframe.frame import GoAwayFrame

from braid.streams import CHUNK, pair

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

STREAMS = 100
"""Requests under way at one time."""
WINDOW = 65_535
"""Bytes of a request's body that wait for its server."""
CONNECTION_WINDOW = 1_048_576
HEADERS = 65_536
ANY_STREAM = 2**31 - 1
CROSSING = 0.5
"""Seconds for requests that were sent before their client could hear that no more are wanted."""
_CONNECTION_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)


class Budget:
    """What a client may do for nothing: ``burst`` at once, and ``rate`` a second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._left, self._burst, self._rate = float(burst), burst, rate
        self._at = 0.0

    def spend(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        return self._left >= 0


@dataclass(eq=False, slots=True)
class _Stream:
    number: int
    body: trio.MemorySendChannel[bytes]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: bool = False
    """The client has sent all."""


class Abuse(Exception):
    """The reason, for the counter."""


class Http2:
    """``serve`` carries HTTP/1.1 on a stream and closes it; ``count`` hears why a client was refused."""

    def __init__(
        self,
        tls: trio.SSLStream[trio.SocketStream],
        serve: Callable[[trio.SocketStream], Awaitable[bool]],
        count: Callable[[str], None],
        idle_timeout: float,
        finishing: trio.Event,
    ) -> None:
        self._tls, self._serve, self._count, self._finishing = tls, serve, count, finishing
        self._idle_timeout = idle_timeout
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
            },
        )
        self._streams: dict[int, _Stream] = {}
        self._none = trio.Event()
        """Set while there is no stream."""
        self._none.set()
        self._sending = trio.Lock()
        self._moved = trio.Event()
        self._resets = Budget(burst=2 * STREAMS, rate=20)
        self._control = Budget(burst=500, rate=50)
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve the client until it ends, is idle for too long, does what it may not, or ``finishing`` is set and what
        it has asked is answered."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self._flush()
                    self._nursery.start_soon(self._say_goodbye)
                    await self._read()
                except h2.exceptions.ProtocolError as error:
                    headers = isinstance(error, h2.exceptions.DenialOfServiceError)
                    self._count("http2_headers" if headers else "http2_malformed")
                except Abuse as error:
                    self._count(str(error))
                    self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                with trio.move_on_after(1):
                    await self._flush()
                self._nursery.cancel_scope.cancel()
        except* _BROKEN:
            pass

    async def _say_goodbye(self) -> None:
        """Ask for no more requests (RFC 9113 6.8), serve those that are under way, and end."""
        await self._finishing.wait()
        async with self._sending:
            # h2's own GOAWAY would end the streams that are open.
            with suppress(*_BROKEN):
                await self._tls.send_all(GoAwayFrame(last_stream_id=ANY_STREAM).serialize())
        # What the client has asked by then is on its way.
        await trio.sleep(CROSSING)
        while self._streams:
            await self._none.wait()
        self._h2.close_connection()
        with trio.move_on_after(1), suppress(*_BROKEN):
            await self._flush()
        self._nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            with trio.move_on_after(self._idle_timeout) as idle:
                received = await self._tls.receive_some(CHUNK)
            if idle.cancelled_caught:
                if not self._streams:
                    self._count("idle_timeout")
                    self._h2.close_connection()
                    return
                continue
            if not received:
                return
            for event in self._h2.receive_data(received):
                self._receive(event)
            self._moved.set()
            self._moved = trio.Event()
            await self._flush()

    async def _flush(self) -> None:
        async with self._sending:
            if data := self._h2.data_to_send():
                await self._tls.send_all(data)

    def _receive(self, event: h2.events.Event) -> None:
        now = trio.current_time()
        match event:
            case h2.events.RequestReceived():
                self._begin(event)
            case h2.events.DataReceived():
                # An empty frame costs a client no window.
                if not event.data and not event.stream_ended and not self._control.spend(now):
                    raise Abuse("http2_flood")
                if (stream := self._streams.get(event.stream_id)) is not None and event.data:
                    stream.body.send_nowait(event.data)
                    self._return(stream, event.flow_controlled_length - len(event.data))
                else:
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                if (stream := self._streams.get(event.stream_id)) is not None:
                    stream.ended = True
                    stream.body.close()
            case h2.events.StreamReset():
                if not self._resets.spend(now):
                    raise Abuse("http2_rapid_reset")
                if (stream := self._streams.get(event.stream_id)) is not None:
                    stream.scope.cancel()
            case h2.events.RemoteSettingsChanged() | h2.events.PingReceived() | h2.events.PriorityUpdated():
                if not self._control.spend(now):
                    raise Abuse("http2_flood")
            case _:
                pass

    def _begin(self, event: h2.events.RequestReceived) -> None:
        assert event.stream_id is not None
        # As many as the client's window holds: each has a byte at least.
        send, receive = trio.open_memory_channel[bytes](WINDOW + 1)
        stream = self._streams[event.stream_id] = _Stream(event.stream_id, send)
        if self._none.is_set():
            self._none = trio.Event()
        self._nursery.start_soon(self._exchange, stream, receive, event.headers, event.stream_ended is not None)

    async def _exchange(
        self, stream: _Stream, body: trio.MemoryReceiveChannel[bytes], headers: Iterable[Any], bodiless: bool
    ) -> None:
        """One request and its answer. Whatever goes wrong resets the stream alone."""
        near, far = pair()
        try:
            with stream.scope:
                async with near, trio.open_nursery() as nursery:
                    nursery.start_soon(self._serve, far)
                    parser = h11.Connection(h11.CLIENT)
                    await near.send_all(parser.send(_request(headers, bodiless)) or b"")
                    nursery.start_soon(self._send_body, stream, body, near, parser)
                    await self._answer(stream, near, parser)
                    nursery.cancel_scope.cancel()
        except* (h11.ProtocolError, h2.exceptions.ProtocolError, *_BROKEN):
            self._count("http2_stream")
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self._end(stream, body)

    async def _end(self, stream: _Stream, body: trio.MemoryReceiveChannel[bytes]) -> None:
        """Forget a stream: what waits of it gives its window back, what is open of it is reset."""
        self._streams.pop(stream.number, None)
        with body:
            while True:
                try:
                    self._return(stream, len(body.receive_nowait()))
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
        # One that is closed already, since all was sent, cannot be reset.
        with suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        with suppress(*_BROKEN):
            await self._flush()
        if not self._streams:
            self._none.set()

    async def _send_body(
        self,
        stream: _Stream,
        body: trio.MemoryReceiveChannel[bytes],
        near: trio.SocketStream,
        parser: h11.Connection,
    ) -> None:
        async for data in body:
            await near.send_all(parser.send(h11.Data(data=data)) or b"")
            self._return(stream, len(data))
            await self._flush()
        await near.send_all(parser.send(h11.EndOfMessage()) or b"")

    def _return(self, stream: _Stream, size: int) -> None:
        """Bytes of a body that have gone on: the client may send as many more."""
        if size > 0:
            # Of a connection that is over nothing can be acknowledged.
            with suppress(h2.exceptions.ProtocolError):
                self._h2.acknowledge_received_data(size, stream.number)

    async def _answer(self, stream: _Stream, near: trio.SocketStream, parser: h11.Connection) -> None:
        while True:
            event = parser.next_event()
            match event:
                case h11.NEED_DATA:
                    parser.receive_data(await near.receive_some(CHUNK))
                case h11.Response():
                    fields = [(b":status", str(event.status_code).encode()), *_end_to_end(event.headers)]
                    self._h2.send_headers(stream.number, fields)
                    await self._flush()
                case h11.Data():
                    await self._send_data(stream, bytes(event.data))
                case h11.EndOfMessage():
                    if trailers := list(_end_to_end(event.headers)):
                        self._h2.send_headers(stream.number, trailers, end_stream=True)
                    else:
                        self._h2.end_stream(stream.number)
                    if not stream.ended:
                        self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.NO_ERROR)
                    await self._flush()
                    return
                case h11.ConnectionClosed():
                    raise h11.RemoteProtocolError("no answer")
                case _:
                    pass

    async def _send_data(self, stream: _Stream, data: bytes) -> None:
        while data:
            moved = self._moved
            window = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if window <= 0:
                await moved.wait()
                continue
            self._h2.send_data(stream.number, data[:window])
            data = data[window:]
            await self._flush()


def _request(headers: Iterable[Any], bodiless: bool) -> h11.Request:
    """The request as HTTP/1.1 has it; h2 has made sure that the fields are those of one request."""
    pseudo: dict[bytes, bytes] = {}
    fields: list[tuple[bytes, bytes]] = []
    cookies: list[bytes] = []
    for name, value in headers:
        if name.startswith(b":"):
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)
        elif name not in _CONNECTION_FIELDS and name not in (b"host", b"te"):
            fields.append((name, value))
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))
    host = pseudo.get(b":authority") or next((value for name, value in headers if name == b"host"), b"")
    if not bodiless and all(name != b"content-length" for name, _ in fields):
        fields.append((b"transfer-encoding", b"chunked"))
    target = pseudo.get(b":path", b"")
    return h11.Request(method=pseudo[b":method"], target=target, headers=[(b"host", host), *fields])


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if name not in _CONNECTION_FIELDS)
