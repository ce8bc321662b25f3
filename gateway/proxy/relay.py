"""HTTP connections whose bytes Rust carries: this side selects the server of each request, and counts.

A request costs Python one verdict. What no built-in selection decides, a plug-in's proxy, goes through ``Connection``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import trio

from braid.http import without_port
from dataplane._native import HttpRelay
from gateway.proxy.events import Request, Served
from gateway.proxy.preface import preface
from gateway.proxy.record import write_access
from topology.proxy import ClientAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataplane._native import RelayEvent
    from gateway.proxy.events import ClientData, ServerData
    from gateway.proxy.pool import ProxiedApplication
    from topology.model import SocketAddress, Target


@dataclass(eq=False, slots=True)
class RelayedConnection:
    """One client connection of the relay; what is known of the request under way."""

    number: int
    application: ProxiedApplication
    data: ClientData
    request: Request | None = None
    target: str = ""
    server: ServerData | None = None
    tried: list[Target] = field(default_factory=list)
    under_way: bool = False
    """Whether the server counts this request as active."""
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
            with trio.CancelScope(deadline=self._native.next_timeout()) as self._waiting:
                await trio.lowlevel.wait_readable(self._native.fd())
            self._waiting = None

    async def serve(self, stream: trio.SocketStream, application: ProxiedApplication, data: ClientData) -> bool:
        """Serve a client to its end, and close the stream; whether it ended in order. Cut off when cancelled."""
        try:
            connection = self.adopt(stream, application, data)
        except OSError:
            application.count("accept_failed")
            return False
        finally:
            await trio.aclose_forcefully(stream)
        try:
            await connection.ended.wait()
        finally:
            if not connection.ended.is_set():
                self.reset(connection)
        return connection.whole

    def adopt(self, stream: trio.SocketStream, application: ProxiedApplication, data: ClientData) -> RelayedConnection:
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
        connection = self.connections[client] = RelayedConnection(client, application, data)
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
        self._native.serve(connection.number, self._server(chosen.address), chosen.cookie, now)

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
