"""Connections whose bytes Rust carries: this side selects the server of each request, and counts.

A request costs Python one verdict, and so does a connection of kind ``tcp`` or ``tls-sni``. What no built-in selection
decides, a plug-in's proxy, goes through ``Connection``.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.errors import BadPacket
from braid.http import without_port
from braid.tls.hello import MAX_HELLO, decode_client_hello
from braid.tun import DEVICE
from dataplane import _native
from gateway.proxy.configured import Configured
from gateway.proxy.events import Request, Served
from gateway.proxy.foreseen import Foreseen
from gateway.proxy.leaving import Leaving
from gateway.proxy.opening import Opening
from gateway.proxy.record import write_access
from gateway.proxy.relayed import RelayedConnection
from gateway.proxy.returning import Returning
from gateway.proxy.tls import DECODE_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from dataplane._native import Decided, RelayEvent
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData
    from gateway.proxy.intake import Arrival
    from gateway.proxy.pool import ProxiedApplication
    from gateway.proxy.relayed import Kept
    from topology.model import IPNetwork, Target


HOLD = 2.0
"""Seconds that a hold of the core is relied on."""


class Relay:
    def __init__(self, device: str = DEVICE) -> None:
        self.connections: dict[int, RelayedConnection] = {}
        """Newest last."""
        self.offer: Callable[[RelayedConnection, float], bool] = lambda _connection, _now: False
        """Whether a request waits because its connection is offered to another node. ``serve_request`` or ``give_up``
        follows then."""
        self.decided: Callable[[RelayedConnection, Decided, float], None] = lambda *_: None
        """Hears of a request that Rust has offered itself, which waits then, or not offered."""
        self.begun: Callable[[RelayedConnection], None] = lambda _connection: None
        """Hears of a connection that requests will come of."""
        self.changed: Callable[[RelayedConnection, list[bytes], float], None] = lambda *_: None
        """Hears of an unsafe request that has succeeded, before its client does: Location and Content-Location."""
        self._native = _native.Relay(device)
        self._returning = Returning(self._native, self._went)
        self._leaving = Leaving(self._native, self._returning, self._parked)
        self._opening = Opening(self._native, self._returning.stay)
        self.foreseen = Foreseen(self._native, self._opening)
        self._configured = Configured(self._native)
        self._promoted: dict[int, RelayedConnection] = {}
        """By the core's number."""
        self._held: list[tuple[Promoted, float]] = []
        self._idle: list[int] = []
        self._kept: list[tuple[RelayedConnection, Decided]] = []
        """Of which ``decided`` has yet to hear."""
        self._waiting: trio.CancelScope | None = None
        self._turning = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Carry all connections that were adopted. Survives clients and servers; never returns."""
        task_status.started()
        descriptor = self._native.fd()
        while True:
            if self._turn():
                await trio.lowlevel.checkpoint()
                continue
            with trio.CancelScope(deadline=self._due()) as self._waiting:
                while not self._waiting.cancel_called:
                    await trio.lowlevel.wait_readable(descriptor)
                    self._wake_at(-inf if self._turn() else self._due())
            self._waiting = None

    def _wake_at(self, due: float) -> None:
        """Or before: waking up too early, once in a while, costs less than to move it with each packet."""
        if self._waiting is not None and due < self._waiting.deadline:
            self._waiting.deadline = due

    async def serve(
        self,
        stream: trio.SocketStream,
        application: ProxiedApplication,
        data: ClientData,
        promoted: Promoted | None = None,
        server: Kept | None = None,
    ) -> bool:
        """Serve a client to its end, and close the stream; whether it ended in order, or went on in the data plane. Cut
        off when cancelled. ``server``: the connection that it has to a server; closed here."""
        try:
            connection = self.adopt(stream.socket.fileno(), application, data, promoted, server)
        except OSError:
            application.count("accept_failed")
            return False
        finally:
            await trio.aclose_forcefully(stream)
            if server is not None:
                server.socket.close()
        try:
            await connection.ended.wait()
        finally:
            if not connection.ended.is_set():
                self.reset(connection)
        return connection.whole

    def adopt(
        self,
        descriptor: int,
        application: ProxiedApplication,
        data: ClientData,
        promoted: Promoted | None = None,
        server: Kept | None = None,
    ) -> RelayedConnection:
        """Serve a client from here on; the descriptor is the caller's to close, at once, and the socket of ``server``.
        OSError when either is closed."""
        now = trio.current_time()
        client = self._native.adopt(descriptor, now, self._configured.newcomer(application, data), promoted is not None)
        if server is not None:
            self._native.adopt_server(client, server.socket.fileno(), self._opening.server(server.address)[0], now)
        connection = RelayedConnection(client, application, data, application.speech, promoted)
        self._begin(connection, now)
        self._attend()
        return connection

    def promote(self, arrival: Arrival, data: ClientData, done: Callable[[], None]) -> None:
        """Serve a client of the fast path's from here on; ``settle`` is to follow. OSError if the kernel does not take
        its records, BadPacket if these are none. ``done`` is called when it is not here any more."""
        request, application, now = arrival.request, arrival.application, trio.current_time()
        server = None
        if request.server is not None and arrival.server is not None:
            server = request.server, self._opening.server(arrival.server)[0]
        try:
            client = self._native.promote(request.client, now, self._configured.newcomer(application, data), server)
        except ValueError as error:
            raise BadPacket(str(error)) from error
        self._opening.taken.append(arrival.promoted)
        connection = RelayedConnection(client, application, data, application.speech, arrival.promoted, done=done)
        connection.held_at = request.held_at
        if arrival.idle:
            self._idle.append(client)
        self._begin(connection, now)

    def hold(self, promoted: Promoted, at: float) -> None:
        """The core holds a connection, as its server has begun to send, since then; ``settle`` is to follow."""
        self._held.append((promoted, at))

    def settle(self) -> None:
        """See to all that was asked for at once."""
        if not (self._held or self._opening.due):
            return
        self._attend()
        for client in self._idle:
            # What it says goes through when the core knows that it is the stack's.
            self._native.finish(client, trio.current_time())
            self._attend()
        self._idle.clear()
        held, self._held = self._held, []
        if held:
            now, clock = trio.current_time(), time.clock_gettime(time.CLOCK_BOOTTIME)
            for promoted, at in held:
                connection = self._promoted.get(promoted.number)
                if connection is None or clock - at > HOLD or not self._returning.hold(connection, now):
                    self._opening.taken.append(promoted)
            self._attend()

    def _begin(self, connection: RelayedConnection, now: float) -> None:
        self.connections[connection.number] = connection
        if connection.promoted is not None:
            self._promoted[connection.promoted.number] = connection
        if connection.speech == "tcp":
            # The server may be the one to speak first, so it is connected without waiting for packets.
            connection.request = Request(connection.data)
            self._opening.select(connection, now)
        elif connection.speech == "http":
            self.begun(connection)

    def let_go(self, pools: Collection[IPNetwork], *, guests: bool = False) -> None:
        """Give to the data plane what can go on there, of connections whose servers see addresses of these pools: also
        short answers, and what is between two requests. Those without a server too: all, or (``guests``) those that
        another gateway has had. To be called again and again: until then it holds for what comes."""
        self._leaving.receive(self.connections.values(), pools, trio.current_time(), guests=guests)

    def finish(self, which: Callable[[RelayedConnection], bool] = lambda _: True) -> None:
        """End connections between two requests: now, or after the one that is under way."""
        for client, connection in list(self.connections.items()):
            if which(connection):
                self._native.finish(client, trio.current_time())
        self._attend()

    def reset(self, connection: RelayedConnection) -> None:
        self._native.reset(connection.number)
        self._attend()

    def reset_promoted(self, number: int) -> None:
        """The core does not have a connection any more, by its number."""
        connection = self._promoted.get(number)
        if connection is not None:
            self.reset(connection)

    def movable(self, connection: RelayedConnection) -> tuple[int, bytes] | None:
        """The descriptor of the client's socket and the head of the request that waits, where nothing else is under
        way; the socket stays the relay's."""
        return self._native.movable(connection.number)

    def serve_request(self, connection: RelayedConnection, now: float) -> None:
        """Serve the request that waits."""
        connection.rest()
        self._opening.select(connection, now)
        self._attend()

    def give_up(self, connection: RelayedConnection) -> None:
        """Close a client's socket, which is in repair mode, so that nobody hears of it."""
        self._native.give_up(connection.number, trio.current_time())
        self._attend()

    def flow(self, connection: RelayedConnection, now: float) -> tuple[str, float, int, int, str]:
        """State, seconds idle, bytes in and out, our address towards the server."""
        found = self._native.flow(connection.number, now)
        if found is None:
            return "ended", 0.0, 0, 0, ""
        state, idle, bytes_in, bytes_out, local = found
        shown = "" if local is None else f"[{local[0]}]:{local[1]}" if ":" in local[0] else f"{local[0]}:{local[1]}"
        return state, idle, bytes_in, bytes_out, shown

    def _due(self) -> float:
        look = self._returning.look_again(trio.current_time())
        # After that: whoever is not to rest any longer waits for a turn.
        return min(look, self._native.next_timeout())

    def _attend(self) -> None:
        """See to what was just asked for, and to when ``run`` has to wake up."""
        if self._turning or self._waiting is None:
            return
        self._wake_at(trio.current_time() if self._turn() else self._due())

    def _turn(self) -> bool:
        """Whether there is more to do at once."""
        self._turning = True
        try:
            now = trio.current_time()
            self._opening.open(now)
            events, more = self._native.turn(now)
            while events:
                for event in events:
                    self._receive(event, now)
                self._opening.open(now)
                for connection, kept in self._kept:
                    self.decided(connection, kept, now)
                self._kept.clear()
                # What came of it: a client that was refused has ended, and nothing would tell.
                events = self._native.said(now)
        finally:
            self._turning = False
        return more

    def _receive(self, event: RelayEvent, now: float) -> None:
        if event[0] == "turned_down":
            self.foreseen.turned_down(*event[1:], now)
            return
        connection = self.connections.get(event[1])
        if connection is None:
            # It went back to the data plane in this turn.
            return
        match event:
            case ("request", _, method, target, authority, path, headers, decided):
                self._note_promotion(connection)
                connection.asked()
                connection.target = target
                path, _, query = path.partition("?")
                data = connection.data
                alpn = (data.alpn,) if data.alpn else ()
                host = without_port(authority.lower())
                connection.request = Request(data, data.sni, alpn, method, host, path, query, headers)
                if decided is None:
                    waits = self.offer(connection, now)
                elif waits := decided[2] is not None:
                    self.decided(connection, decided, now)
                elif decided[0]:
                    self._kept.append((connection, decided))
                if not waits:
                    self._opening.select(connection, now)
            case ("first_bytes", _, data):
                self._note_promotion(connection)
                self._read_hello(connection, data, now)
            case ("changed", _, elsewhere):
                self.changed(connection, elsewhere, now)
            case ("served", _, status, size, latency):
                connection.application.receive(_target(connection), latency)
                self._served(connection, status, size)
                self._leaving.look(connection, now)
            case ("answered", _, latency):
                connection.application.receive(_target(connection), latency)
            case ("failed", _, reason, another):
                self._failed(connection, reason, another, now)
            case ("connected", _, seconds):
                connection.application.connected(_target(connection), seconds)
                if connection.speech != "http":
                    self._served(connection, 0, 0)
            case ("again", _):
                self._opening.again(connection)
            case ("opaque", _):
                self._returning.offer(connection, now)
            case ("refused", _, reason, answered):
                connection.application.count(reason)
                if answered is not None and connection.request is not None:
                    self._log(connection, *answered, reason)
            case ("ended", _, whole):
                self._forget(connection)
                connection.end(whole=whole)

    def _forget(self, connection: RelayedConnection) -> None:
        del self.connections[connection.number]
        self._returning.forget(connection)
        promoted = connection.promoted
        if promoted is not None and self._promoted.get(promoted.number) is connection:
            del self._promoted[promoted.number]

    def _note_promotion(self, connection: RelayedConnection) -> None:
        """How long it took from the client's packet until it can be read here."""
        if connection.held_at:
            taken = time.clock_gettime(time.CLOCK_BOOTTIME) - connection.held_at
            connection.application.counters.promotions.append(taken)
            connection.held_at = 0.0

    def _read_hello(self, connection: RelayedConnection, data: bytes, now: float) -> None:
        number = connection.number
        try:
            hello = decode_client_hello(data)
        except BadPacket as error:
            self._native.refuse_with(number, str(error), DECODE_ERROR, now)
            return
        if hello is not None:
            connection.request = Request(connection.data, sni=hello.sni, alpn=hello.alpn)
            connection.target = hello.sni
            self._opening.select(connection, now)
        elif len(data) > 2 * MAX_HELLO:
            self._native.refuse_with(number, "tls_too_long", DECODE_ERROR, now)

    def _went(self, connection: RelayedConnection, status: int, size: int, latency: float) -> None:
        """Into the data plane."""
        promoted, server = connection.promoted, connection.server
        assert promoted is not None
        assert server is not None
        self._forget(connection)
        connection.application.went(promoted.number, connection.data, server)
        if connection.speech == "http" and status:
            connection.application.receive(server.target, latency)
            self._served(connection, status, size)
        elif latency and connection.speech != "http":
            connection.application.receive(server.target, latency)
        connection.end(whole=True)

    def _parked(self, connection: RelayedConnection) -> None:
        self._forget(connection)
        connection.end(whole=True)

    def _served(self, connection: RelayedConnection, status: int, size: int) -> None:
        """A request and its answer are through; or there is a server for bytes that pass as they are."""
        request, server = connection.request, connection.server
        assert request is not None
        assert server is not None
        if connection.speech == "http":
            connection.rest()
        connection.application.served(server.target)
        self._log(connection, status, size)

    def _log(self, connection: RelayedConnection, status: int, size: int, refused: str = "") -> None:
        request = connection.request
        if request is not None and connection.application.settings.access_log:
            write_access(connection.data, Served(request, connection.server, status, connection.target, size, refused))

    def _failed(self, connection: RelayedConnection, reason: str, another: bool, now: float) -> None:
        target = _target(connection)
        connection.application.receive(target, None)
        connection.rest()
        if another:
            connection.tried.append(target)
            if len(connection.tried) > connection.application.settings.retries:
                self._opening.refuse(connection, f"server_{reason}", now)
            else:
                self._opening.select(connection, now, f"server_{reason}")


def _target(connection: RelayedConnection) -> Target:
    assert connection.server is not None
    return connection.server.target
