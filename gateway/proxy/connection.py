"""One proxied client connection at work: sockets and time on one side, the service gateway's decisions on the other."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.streams import reset_on_close
from gateway.normalpath.promotion import MOST_RESIDUE, SETTLE, SETTLE_LOOK, TOO_MUCH, under_way
from gateway.proxy.events import (
    Abort,
    ClientClosed,
    ClientConnection,
    ClientPackets,
    CloseClient,
    CloseServer,
    EndClient,
    EndServer,
    SendClient,
    Served,
    ServerClosed,
    ServerEstablished,
    ServerFailed,
    ServerPackets,
)
from gateway.proxy.gateway import Blame, Connect, Count, Reset, SendServer, ServiceGateway
from gateway.proxy.leg import Leg, keep_short
from gateway.proxy.preface import preface
from gateway.proxy.record import write_access
from topology.proxy import ClientAddress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.application import ApplicationProxy
    from gateway.proxy.events import ClientData, Event, ServerData
    from gateway.proxy.gateway import Action
    from gateway.proxy.pool import ProxiedApplication

log = logs.get(__name__)

LINGER = 2.0
"""Seconds that a client may go without taking any of the last bytes before its connection is dropped."""
MOST_SOURCES = 4
"""As in the relay (``dataplane/proxy/src/relay/servers.rs``)."""
_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(slots=True)
class _Server:
    data: ServerData
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    leg: Leg | None = None
    asked_at: float | None = None
    local: str = ""
    translatable: bool = False
    """Whether the core sees its packets."""


class Connection:
    """``promoted``: the stack has the connection from the fast path, and it may go back there."""

    def __init__(
        self,
        application: ProxiedApplication,
        proxy: ApplicationProxy,
        stream: trio.SocketStream,
        data: ClientData,
        promoted: Promoted | None = None,
    ):
        self.data = data
        self.promoted = promoted
        self.spliced = False
        """Whether it goes on in the data plane."""
        self.gateway = ServiceGateway(proxy, trio.current_time())
        self.server: _Server | None = None
        self.verdict: ServerData | None = None
        """The last one, for people."""
        self.cut = False
        """Whether the client was reset."""
        self.client = Leg(stream, self._moved)
        self._application = application
        self._may_return = promoted is not None
        self._settling = False
        self._undecided = 0
        """Events that wait for their turn."""
        self._progress = trio.Event()
        self._lock = trio.Lock()
        self._client_eof = trio.Event()

    async def run(self) -> None:
        """Serve the client to its end. Closes both connections; whatever the client, a server or the proxy does is
        survived and counted."""
        async with self.client.stream:
            if self._may_return:
                keep_short(self.client.stream.socket.fileno(), short=True)
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(self._write_client)
                    self._nursery.start_soon(self._watch_time)
                    await self._receive(ClientConnection(self.data))
                    await self._read_client()
            finally:
                self._drop_server()

    def finish(self) -> None:
        """End between two requests: now, or after the one that is under way."""
        already, self.gateway.proxy.draining = self.gateway.proxy.draining, True
        if not already and self.gateway.proxy.between_requests:
            self._perform(CloseClient())

    def reset(self) -> None:
        """Nothing serves the client any more: what it sends now finds no connection, and is told so."""
        self._perform(Reset())

    async def _read_client(self) -> None:
        async def receive(data: bytes) -> None:
            if not data:
                self._client_eof.set()
            await self._receive(ClientPackets(data) if data else ClientClosed())

        try:
            await self.client.read(self._room_for_client, receive)
        except _BROKEN:
            await self._receive(Abort("client_reset"))
            self._stop()

    async def _write_client(self) -> None:
        try:
            await self.client.write()
        except _BROKEN:
            await self._receive(Abort("client_reset"))
            self._stop()

    async def _room_for_client(self) -> None:
        while not self.gateway.ended() and (self.gateway.proxy.paused or self._server_full() or self._long(False)):
            await self._progress.wait()

    def _server_full(self) -> bool:
        return self.server is not None and self.server.leg is not None and self.server.leg.full

    async def _room_for_server(self) -> None:
        while self.client.full or self._long(True):
            await self._progress.wait()

    def _long(self, to_client: bool) -> bool:
        """Whether nothing more is to be read for one side, as its queue has to become short."""
        if not self._settling or self.server is None or self.server.leg is None:
            return False
        legs = (self.client, self.server.leg) if to_client else (self.server.leg, self.client)
        to, source = (each.stream.socket.fileno() for each in legs)
        return min(to, source) >= 0 and under_way(to, source, legs[0].queued) > MOST_RESIDUE // 2

    def _moved(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    async def _watch_time(self) -> None:
        while (due := self.gateway.next_timeout()) is not None:
            with trio.move_on_at(due):
                await self._progress.wait()
            if trio.current_time() >= due:
                async with self._lock:
                    await self._decide(self.gateway.handle_timeout)

    async def _receive(self, event: Event, of: _Server | None = None) -> None:
        """Everything that happens goes through here, one after the other; what an old server did is not of interest."""
        self._undecided += 1
        try:
            async with self._lock:
                if of is None or of is self.server:

                    async def decide(now: float) -> list[Action]:
                        return await self.gateway.receive(event, now)

                    await self._decide(decide)
        finally:
            self._undecided -= 1
        self._moved()
        if self._may_return and not self._settling and self._give_back() == TOO_MUCH:
            self._settling = True
            self._nursery.start_soon(self._settle)

    def _give_back(self) -> str | None:
        """Let the data plane have the connection, if nothing is under way here. The reason if it cannot have it."""
        server, promoted = self.server, self.promoted
        if not self.gateway.opaque or self._undecided or self._lock.locked():
            return None
        if promoted is None or server is None or server.leg is None or self.client.ending or server.leg.ending:
            return None
        reason = "server_not_translatable"
        if server.translatable:
            sockets = self.client.stream.socket, server.leg.stream.socket

            def close() -> None:
                for each in sockets:
                    each.close()

            client, other = (each.fileno() for each in sockets)
            found = promoted.give_back(client, other, self.client.queued, server.leg.queued, close)
            if found is None:
                self.spliced = True
                self._application.went(promoted.number, self.data, server.data)
                self._stop()
                return None
            reason = found
        if reason != TOO_MUCH:
            self._stay(reason)
        return reason

    def _stay(self, reason: str) -> None:
        self._may_return = False
        self._application.stayed(reason)
        keep_short(self.client.stream.socket.fileno(), short=False)
        if self.server is not None and self.server.translatable and self.server.leg is not None:
            keep_short(self.server.leg.stream.socket.fileno(), short=False)

    async def _settle(self) -> None:
        """Until the queues are short enough to go along."""
        with trio.move_on_after(SETTLE) as patience:
            while self._may_return:
                await trio.sleep(SETTLE_LOOK)
                self._moved()
                if self._give_back() is None and not self.gateway.opaque:
                    break
        if patience.cancelled_caught:
            self._stay(TOO_MUCH)
        self._settling = False
        self._moved()

    async def _decide(self, decide: Callable[[float], Awaitable[list[Action]]]) -> None:
        limit = self.gateway.proxy.settings.select_timeout
        actions: list[Action] = [Count("proxy_hung"), Reset()]
        with trio.move_on_after(limit):
            try:
                actions = await decide(trio.current_time())
            except Exception as error:  # noqa: BLE001 - a proxy's bug ends its connection, not the gateway
                self._application.complain(error)
                actions = [Count("proxy_failed"), Reset()]
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Connect(server_data):
                self.verdict = server_data
                self.server = _Server(server_data)
                self._nursery.start_soon(self._serve, self.server)
            case SendServer(data):
                if self.server is not None and self.server.leg is not None:
                    self.server.asked_at = trio.current_time()
                    self.server.leg.put(data)
            case EndServer():
                if self.server is not None and self.server.leg is not None:
                    self.server.leg.end()
            case CloseServer():
                self._close_server()
            case SendClient(data):
                self.client.put(data)
            case EndClient():
                self.client.end()
            case CloseClient():
                self.client.end()
                self._nursery.start_soon(self._finish)
            case Reset():
                self.cut = True
                reset_on_close(self.client.stream)
                self._stop()
            case Blame(server_data):
                self._application.receive(server_data.target, None)
            case Count(reason):
                self._application.count(reason)
            case Served():
                self._served(action)

    def _close_server(self) -> None:
        """Before another one gets its port, where it has that of the client's flow."""
        if self.server is not None and self.server.translatable and self.server.leg is not None:
            reset_on_close(self.server.leg.stream)
            self.server.leg.stream.socket.close()
        self._drop_server()

    def _drop_server(self) -> None:
        if self.server is not None:
            self.server.scope.cancel()
            self.server = None

    async def _finish(self) -> None:
        """Until the client has read all and closed: closing on bytes that nobody read would reset. However slow it is,
        as long as it takes some."""
        taken = None
        while not self._client_eof.is_set() and (now_taken := self.client.acknowledged()) != taken:
            taken = now_taken
            with trio.move_on_after(LINGER):
                await self._client_eof.wait()
        self._stop()

    def _stop(self) -> None:
        self._nursery.cancel_scope.cancel()

    async def _serve(self, server: _Server) -> None:
        """Connect to a server and carry its bytes until it or the proxy has enough of it."""
        with server.scope:
            began = trio.current_time()
            try:
                stream = await self._connect_from_any(server)
            except OSError as error:
                reason = f"connect_{errno.errorcode.get(error.errno or 0, 'failed').lower()}"
                self._application.receive(server.data.target, None)
                await self._receive(ServerFailed(server.data, reason), server)
                return
            self._application.begin(server.data.target)
            try:
                async with stream:
                    server.local = _name(stream.socket.getsockname())
                    server.leg = Leg(stream, self._moved)
                    if server.translatable and self._may_return:
                        keep_short(stream.socket.fileno(), short=True)
                    server.leg.put(preface(self.gateway.proxy.settings.client_address, self.data))
                    self._application.connected(server.data.target, trio.current_time() - began)
                    await self._receive(ServerEstablished(server.data), server)
                    await self._carry(server, server.leg)
            finally:
                self._application.end(server.data.target)

    async def _carry(self, server: _Server, leg: Leg) -> None:
        async def receive(data: bytes) -> None:
            if server.asked_at is not None and data:
                self._application.receive(server.data.target, trio.current_time() - server.asked_at)
                server.asked_at = None
            await self._receive(ServerPackets(data) if data else ServerClosed(), server)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leg.write)
                await leg.read(self._room_for_server, receive)
        except* _BROKEN:
            # One that was closed or taken away from here is not of interest either.
            if server is self.server and not self.spliced:
                if server.asked_at is not None:
                    self._application.receive(server.data.target, None)
                await self._receive(ServerFailed(server.data, "reset"), server)

    async def _connect_from_any(self, server: _Server) -> trio.SocketStream:
        """From another source, where the kernel still ends a connection of the one that the NAT has given."""
        for _ in range(MOST_SOURCES - 1):
            try:
                return await self._connect(server)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or not server.translatable:
                    raise
        return await self._connect(server)

    async def _connect(self, server: _Server) -> trio.SocketStream:
        address = server.data.address
        of_flow = self.promoted.open_server(address) if self.promoted is not None else None
        if of_flow is not None:
            server.translatable = True
            opened = trio.socket.from_stdlib_socket(of_flow)
        elif self.gateway.proxy.settings.client_address is ClientAddress.TRANSPARENT:
            raise OSError(errno.EADDRNOTAVAIL, "the client's address cannot be had")
        else:
            family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
            opened = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            with trio.move_on_after(self.gateway.proxy.settings.connect_timeout) as scope:
                await opened.connect((str(address.host), address.port))
            if scope.cancelled_caught:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        except BaseException:
            opened.close()
            raise
        return trio.SocketStream(opened)

    def _served(self, served: Served) -> None:
        if not served.refused:
            self._application.served(served.server_data.target if served.server_data else None)
        if self.gateway.proxy.settings.access_log:
            write_access(self.data, served)


def _name(address: tuple[str, int]) -> str:
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
