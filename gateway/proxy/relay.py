"""HTTP connections whose bytes Rust carries: this side selects the server of each request, and counts.

A request costs Python one verdict. What no built-in selection decides, a plug-in's proxy, goes through ``Connection``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.http import without_port
from braid.tcp.repair import unread
from dataplane._native import HttpRelay
from gateway.normalpath.promotion import MOST_RESIDUE, SETTLE, SETTLE_LOOK, TOO_MUCH
from gateway.proxy.events import Request, Served
from gateway.proxy.leg import keep_short
from gateway.proxy.message import IDEMPOTENT
from gateway.proxy.preface import preface
from gateway.proxy.record import write_access
from topology.proxy import ClientAddress

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from dataplane._native import RelayEvent
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData, ServerData
    from gateway.proxy.pool import ProxiedApplication
    from topology.model import SocketAddress, Target


@dataclass(frozen=True, slots=True)
class Kept:
    """A client's connection to a server."""

    socket: socket.socket
    address: SocketAddress


@dataclass(eq=False, slots=True)
class RelayedConnection:
    """One client connection of the relay; what is known of the request under way."""

    number: int
    application: ProxiedApplication
    data: ClientData
    promoted: Promoted | None = None
    request: Request | None = None
    target: str = ""
    server: ServerData | None = None
    tried: list[Target] = field(default_factory=list)
    under_way: bool = False
    """Whether the server counts this request as active."""
    may_return: bool = True
    """Whether an answer may go on in the data plane, if the stack has the connection from there."""
    whole: bool = False
    """Whether it ended in order."""
    ended: trio.Event = field(default_factory=trio.Event)


class Relay:
    def __init__(self) -> None:
        self.connections: dict[int, RelayedConnection] = {}
        """Newest last."""
        self.offer: Callable[[RelayedConnection, float], bool] = lambda _connection, _now: False
        """Whether a request waits because its connection is offered to another node. ``serve_request`` or ``give_up``
        follows then."""
        self._native = HttpRelay()
        self._numbers: dict[str, int] = {}
        self._servers: dict[SocketAddress, int] = {}
        self._resting: dict[int, float] = {}
        """Connections whose queues are to become short, and until when."""
        self._waiting: trio.CancelScope | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Carry all connections that were adopted. Survives clients and servers; never returns."""
        task_status.started()
        while True:
            now = trio.current_time()
            events, more = self._native.turn(now)
            for event in events:
                self._receive(event, now)
            if more:
                await trio.lowlevel.checkpoint()
                continue
            look = self._look_again(now) if self._resting else inf
            # After that: whoever is not to rest any longer waits for a turn.
            due = min(look, self._native.next_timeout())
            with trio.CancelScope(deadline=due) as self._waiting:
                await trio.lowlevel.wait_readable(self._native.fd())
            self._waiting = None

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
            connection = self.adopt(stream, application, data, promoted)
            if server is not None:
                number, now = self._server(server.address), trio.current_time()
                self._native.adopt_server(connection.number, server.socket.fileno(), number, now)
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
        stream: trio.SocketStream,
        application: ProxiedApplication,
        data: ClientData,
        promoted: Promoted | None = None,
    ) -> RelayedConnection:
        """Serve a client from here on. The stream is the caller's to close, at once. OSError when it is closed."""
        number = self._numbers.setdefault(application.name, len(self._numbers))
        settings = application.settings
        self._native.configure(
            number,
            select_timeout=settings.select_timeout,
            connect_timeout=settings.connect_timeout,
            answer_timeout=settings.answer_timeout,
            idle_timeout=settings.idle_timeout,
            buffer=settings.buffer,
            pool=settings.pool,
            pool_timeout=settings.pool_timeout,
            splice_above=settings.splice_above,
        )
        client = self._native.adopt(
            stream.socket.fileno(),
            number,
            trio.current_time(),
            client=str(data.client.host),
            preface=preface(settings.client_address, data),
            forwarded=settings.client_address is ClientAddress.FORWARDED,
            tls=data.tls,
        )
        connection = self.connections[client] = RelayedConnection(client, application, data, promoted)
        return connection

    def finish(self) -> None:
        """End connections between two requests: now, or after the one that is under way."""
        for client in list(self.connections):
            self._native.finish(client, trio.current_time())
        self._wake()

    def reset(self, connection: RelayedConnection) -> None:
        self._native.reset(connection.number)
        self._wake()

    def movable(self, connection: RelayedConnection) -> tuple[int, bytes] | None:
        """The descriptor of the client's socket and the head of the request that waits, where nothing else is under
        way; the socket stays the relay's."""
        return self._native.movable(connection.number)

    def serve_request(self, connection: RelayedConnection, now: float) -> None:
        """Serve the request that waits."""
        self._select(connection, now)
        self._wake()

    def give_up(self, connection: RelayedConnection) -> None:
        """Close a client's socket, which is in repair mode, so that nobody hears of it."""
        self._native.give_up(connection.number, trio.current_time())
        self._wake()

    def flow(self, connection: RelayedConnection, now: float) -> tuple[str, float, int, int, str]:
        """State, seconds idle, bytes in and out, our address towards the server."""
        found = self._native.flow(connection.number, now)
        if found is None:
            return "ended", 0.0, 0, 0, ""
        state, idle, bytes_in, bytes_out, local = found
        shown = "" if local is None else f"[{local[0]}]:{local[1]}" if ":" in local[0] else f"{local[0]}:{local[1]}"
        return state, idle, bytes_in, bytes_out, shown

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _receive(self, event: RelayEvent, now: float) -> None:
        match event:
            case ("request", client, method, target, authority, path, headers):
                connection = self.connections[client]
                connection.tried.clear()
                connection.target = target
                path, _, query = path.partition("?")
                data = connection.data
                alpn = (data.alpn,) if data.alpn else ()
                host = without_port(authority.lower())
                connection.request = Request(data, data.sni, alpn, method, host, path, query, headers)
                if not self.offer(connection, now):
                    self._select(connection, now)
            case ("served", client, status, size, latency):
                self._served(self.connections[client], status, size, latency)
            case ("failed", client, reason, another):
                self._failed(self.connections[client], reason, another, now)
            case ("connected", client, seconds):
                connection = self.connections[client]
                if connection.server is not None:
                    connection.application.connected(connection.server.target, seconds)
                if (own := self._native.own_server(client)) is not None:
                    keep_short(own[1], short=True)
            case ("again", client):
                connection = self.connections[client]
                assert connection.server is not None
                with self._own(connection, connection.server) as own_socket:
                    self._native.reconnect(client, now, own_socket.fileno() if own_socket else None)
            case ("opaque", client):
                # It may have been offered more than once in a turn.
                if client in self.connections and client not in self._resting:
                    self._give_back(self.connections[client], now)
            case ("refused", client, reason):
                self.connections[client].application.count(reason)
            case ("ended", client, whole):
                connection = self.connections.pop(client)
                connection.whole = whole
                self._rest(connection)
                connection.ended.set()

    def _select(self, connection: RelayedConnection, now: float, reason: str = "no_server") -> None:
        assert connection.request is not None
        chosen = connection.application.choose(connection.request, connection.tried, None)
        if chosen is None:
            self._native.refuse(connection.number, reason, 503 if reason == "no_server" else 502, now)
            return
        connection.server = chosen
        connection.application.begin(chosen.target)
        connection.under_way = True
        number, server = connection.number, self._server(chosen.address)
        kept = self._native.own_server(number)
        if kept is not None and kept[0] == server and connection.request.method.encode() in IDEMPOTENT:
            self._native.serve(number, server, chosen.cookie, now)
            return
        if kept is not None:
            self._native.drop_server(number)
        with self._own(connection, chosen) as own:
            self._native.serve(number, server, chosen.cookie, now, own.fileno() if own else None)

    @contextmanager
    def _own(self, connection: RelayedConnection, chosen: ServerData) -> Iterator[socket.socket | None]:
        """A socket that connects to a server for this client alone, so that an answer may go on in the data plane. None
        where it may not."""
        promoted, settings = connection.promoted, connection.application.settings
        opened = None
        if promoted is not None and settings.splice_above is not None and connection.may_return:
            opened = promoted.open_server(chosen.address)
        if opened is None:
            yield None
            return
        with opened:
            opened.connect_ex((str(chosen.address.host), chosen.address.port))
            yield opened

    def _look_again(self, now: float) -> float:
        """Try once more with those that rest; when to do so again."""
        for number, until in list(self._resting.items()):
            connection = self.connections.get(number)
            if connection is not None and now < until and self._native.departing(number) is not None:
                self._give_back(connection, now)
            elif self._resting.pop(number, None) is not None and connection is not None:
                self._native.rest(number, False)
                connection.application.stayed(TOO_MUCH)
        return now + SETTLE_LOOK if self._resting else inf

    def _give_back(self, connection: RelayedConnection, now: float) -> None:
        """Let the data plane have the rest of an answer."""
        found, promoted = self._native.departing(connection.number), connection.promoted
        if found is None or promoted is None or connection.server is None or not connection.may_return:
            return
        client, server, to_client, left, status, size, latency = found
        depart = partial(self._native.depart, connection.number)
        reason = promoted.give_back(client, server, to_client, b"", depart, left)
        if reason == TOO_MUCH:
            if unread(server) > MOST_RESIDUE // 2:
                # That becomes less by being read. The rest of the answer is offered again.
                if self._resting.pop(connection.number, None) is not None:
                    self._native.rest(connection.number, False)
                return
            if connection.number not in self._resting:
                self._resting[connection.number] = now + SETTLE
                self._native.rest(connection.number, True)
            return
        if self._resting.pop(connection.number, None) is not None and reason is not None:
            self._native.rest(connection.number, False)
        if reason is not None:
            connection.may_return = False
            connection.application.stayed(reason)
        else:
            del self.connections[connection.number]
            connection.application.went(promoted.number, connection.data, connection.server)
            self._served(connection, status, size, latency)
            connection.whole = True
            connection.ended.set()

    def _server(self, address: SocketAddress) -> int:
        number = self._servers.get(address)
        if number is None:
            number = self._servers[address] = self._native.server(str(address.host), address.port)
        return number

    def _served(self, connection: RelayedConnection, status: int, size: int, latency: float) -> None:
        request, server = connection.request, connection.server
        assert request is not None
        assert server is not None
        connection.application.receive(server.target, latency)
        self._rest(connection)
        connection.application.served(server.target)
        if connection.application.settings.access_log:
            write_access(connection.data, Served(request, server, status, connection.target, size))

    def _failed(self, connection: RelayedConnection, reason: str, another: bool, now: float) -> None:
        assert connection.server is not None
        connection.application.receive(connection.server.target, None)
        self._rest(connection)
        if another:
            connection.tried.append(connection.server.target)
            if len(connection.tried) > connection.application.settings.retries:
                self._native.refuse(connection.number, f"server_{reason}", 502, now)
            else:
                self._select(connection, now, f"server_{reason}")

    def _rest(self, connection: RelayedConnection) -> None:
        if connection.under_way and connection.server is not None:
            connection.under_way = False
            connection.application.end(connection.server.target)
