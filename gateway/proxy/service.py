"""The proxies of a gateway at work: addresses, listeners, connections; what they show."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.beat import beat
from braid.process import allow_descriptors
from braid.streams import pair, reset_on_close
from braid.tcp.repair import build
from braid.tls.certificates import Certificates
from braid.tls.terminate import Limits, terminate
from braid.tun import DEVICE
from gateway.nat import accepted, transparent
from gateway.normalpath.promotion import promote
from gateway.proxy import stack
from gateway.proxy.accept import accept, reset
from gateway.proxy.connection import Connection
from gateway.proxy.farewell import Farewell
from gateway.proxy.ground import Ground, proxied_here
from gateway.proxy.intake import Intake
from gateway.proxy.places import Places
from gateway.proxy.pool import PlugInError, ProxiedApplication
from gateway.proxy.relay import Relay
from gateway.transfer.service import TransferService
from topology.model import SocketAddress
from topology.proxy import TLS_SNI

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address
    from random import Random

    from braid.events import ConnectionEvent
    from braid.role import NodeHandle, Situation
    from braid.tcp.record import TcpRecord
    from braid.tls.terminate import Agreed
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData
    from gateway.proxy.intake import Arrival
    from gateway.targets import TargetKey
    from topology.model import IPNetwork

log = logs.get(__name__)

POLL = 1.0
"""Seconds between looks at certificates."""


class ProxyService:
    """``no_repair`` says why this host cannot build sockets for connections of the fast path; listeners accept then."""

    def __init__(self, healthy: Callable[[TargetKey], bool], rng: Random, no_repair: str | None = None) -> None:
        self.applications: dict[str, ProxiedApplication] = {}
        self.connections: dict[Connection, None] = {}
        """Newest last."""
        self.relay = Relay()
        """Connections that need no proxy of their own."""
        self.transfers = TransferService(self.relay, self._returned, self._adopt, self._inside, rng, time.time)
        self.certificates = Certificates()
        self.ground = Ground()
        self._offered = 0
        """Connections whose ClientHello is looked at."""
        self._problems: dict[str, str] = {}
        self._healthy = healthy
        self._rng = rng
        self._listeners: dict[SocketAddress, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self.farewell = Farewell()
        self._no_repair = no_repair
        self._intake: Intake | None = None
        """Of connections that the fast path accepts; None: listeners do."""
        self._places = Places()

    @property
    def promotes(self) -> bool:
        return self._intake is not None

    @property
    def problems(self) -> dict[str, str]:
        """What does not listen or cannot be used, and why."""
        return self._problems | self.certificates.problems

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Listen on the VIPs of proxied applications, serve who connects, follow the topology.

        Started when the first listeners are there. Removes its addresses at its end. Survives clients, servers and
        plug-ins.
        """
        await stack.clear()
        try:
            async with trio.open_nursery() as nursery:

                def serve(arrival: Arrival) -> None:
                    application = arrival.application
                    if application.relayed and application.settings.tls is None and not self._looks_at(application):
                        self._relay(arrival)
                    else:
                        sockets = promote(arrival.promoted, arrival.request.client, arrival.request.server)
                        nursery.start_soon(self._arrived, arrival, *sockets)

                if self._no_repair is None and node.connections is not None:
                    self._intake = Intake(node.connections, self._application_of, serve, self.relay.hold, self._ended)
                await nursery.start(self.relay.run)
                await nursery.start(self.transfers.run, node)
                self._nursery = nursery
                nursery.start_soon(self._follow_certificates, node)
                while True:
                    reloaded = node.reloaded()
                    await self._follow(node, nursery)
                    if task_status is not trio.TASK_STATUS_IGNORED:
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED
                    await reloaded.wait()
        finally:
            await self.ground.clear()

    def finish(self) -> bool:
        """Take no more connections, and end those between two requests. True while others are under way."""
        self.farewell.end()
        for scope in self._listeners.values():
            scope.cancel()
        self._listeners.clear()
        if self._intake is not None:
            self._intake.draining = True
        for connection in self.connections:
            connection.finish()
        self.relay.finish()
        return bool(self.connections or self.relay.connections or self._offered)

    def let_go(self, pools: tuple[IPNetwork, ...], *, guests: bool) -> None:
        """As ``Relay.let_go``; what cannot go ends between two requests, but for guests."""
        self.relay.let_go(pools, guests=guests)
        if not guests:
            self.farewell.say(self.relay, self.connections, self.applications, trio.current_time())

    async def _follow(self, node: NodeHandle, nursery: trio.Nursery) -> None:
        situation = node.situation()
        mine = proxied_here(situation)
        self._problems = {}
        if mine:
            allow_descriptors()
        if mine and self._no_repair is not None:
            log.warning("listeners accept connections, not the fast path", problem=self._no_repair)
        self._places.follow(situation.topology)
        wanted: dict[SocketAddress, ProxiedApplication] = {}
        for application in mine:
            if (proxied := self._configured(application.name, situation)) is None:
                continue
            proxied.accept = accept = accepted(application, promotes=self.promotes)
            if accept == "listener" and transparent(application):
                self._problems[f"applications.{application.name}.proxy.client_address"] = (
                    f"clients' addresses cannot be kept: {self._no_repair or 'listeners accept connections'}; "
                    "use a kernel with CONFIG_CHECKPOINT_RESTORE, or write proxy-v2"
                )
            if accept == "listener":
                wanted |= dict.fromkeys(stack.listeners(situation.topology, application), proxied)
        self.applications = {each.name: self.applications[each.name] for each in mine if each.name in self.applications}
        for connection in list(self.connections):
            if connection.data.application not in self.applications:
                connection.reset()
        for relayed in list(self.relay.connections.values()):
            if relayed.data.application not in self.applications:
                self.relay.reset(relayed)
        await self._read_certificates(node)
        await self.ground.follow(situation)
        for where in self._listeners.keys() - wanted.keys():
            self._listeners.pop(where).cancel()
        for where, proxied in wanted.items():
            if where not in self._listeners:
                self._listen(where, proxied, nursery)
        for what, problem in self.problems.items():
            log.error("proxy cannot be used", what=what, problem=problem)

    async def _follow_certificates(self, node: NodeHandle) -> NoReturn:
        while True:
            await beat(POLL)
            before = self.certificates.problems
            await self._read_certificates(node)
            for what, problem in self.certificates.problems.items():
                if before.get(what) != problem:
                    log.error("certificate refused, the last good one stays in use", what=what, problem=problem)

    async def _read_certificates(self, node: NodeHandle) -> None:
        wanted = {
            _certificates(name): proxied.settings.tls
            for name, proxied in self.applications.items()
            if proxied.settings.tls is not None
        }
        directory = node.topology_file.parent if node.topology_file else Path()
        if wanted or self.certificates.problems:
            await trio.to_thread.run_sync(self.certificates.look, wanted, directory)

    def _configured(self, name: str, situation: Situation) -> ProxiedApplication | None:
        application = situation.topology.applications[name]
        assert application.proxy is not None
        try:
            if name in self.applications:
                self.applications[name].configure(application, application.proxy)
            else:
                self.applications[name] = ProxiedApplication(application, application.proxy, self._healthy, self._rng)
        except PlugInError as error:
            self._problems[f"applications.{name}.proxy.kind"] = f"{error}; install the plug-in for this Python"
        return self.applications.get(name)

    def _listen(self, where: SocketAddress, proxied: ProxiedApplication, nursery: trio.Nursery) -> None:
        try:
            opened = stack.listen(where)
        except OSError as error:
            remedy = "let no other program use the port on all addresses"
            self._problems[str(where)] = f"{(error.strerror or str(error)).lower()}; {remedy}"
            return
        self._listeners[where] = scope = trio.CancelScope()

        def serve(stream: trio.SocketStream) -> None:
            nursery.start_soon(self._accepted, stream, proxied)

        nursery.start_soon(accept, trio.socket.from_stdlib_socket(opened), proxied, scope, serve)

    async def _accepted(
        self, stream: trio.SocketStream, proxied: ProxiedApplication, promoted: Promoted | None = None
    ) -> None:
        proxied.counters.connections += promoted is None
        try:
            client, vip = _address(stream.socket.getpeername()), _address(stream.socket.getsockname())
        except OSError:
            proxied.count("client_reset")
        else:
            if not proxied.full:
                await self._serve(proxied, stream, self._places.client(client, vip, proxied.name), promoted)
                return
            proxied.count("too_many_connections")
        await reset(stream)

    def receive(self, event: ConnectionEvent) -> None:
        """What the fast path says of connections. Before this service runs nothing is lost: the core asks again."""
        if self._intake is not None:
            self._intake.receive(event)

    def settle(self) -> None:
        """All that came at once was received."""
        self.relay.settle()

    def _application_of(self, vip: IPv4Address | IPv6Address) -> ProxiedApplication | None:
        return self.applications.get(self._places.application(vip) or "")

    def _ended(self, number: int) -> None:
        """In the data plane; or in the stack, if the core has given it up."""
        if any(each.ended(number) for each in self.applications.values()):
            return
        for connection in list(self.connections):
            if connection.promoted is not None and connection.promoted.number == number:
                connection.reset()
        self.relay.reset_promoted(number)

    def _relay(self, arrival: Arrival) -> None:
        """A connection that needs no task of its own."""
        application = arrival.application

        def done() -> None:
            application.open -= 1

        data = self._places.client(arrival.ends.remote, arrival.ends.local, application.name)
        self.relay.promote(arrival, data, done)
        application.open += 1

    async def _arrived(self, arrival: Arrival, opened: socket.socket, other: socket.socket | None) -> None:
        if other is not None:
            # The application was of another kind when it was spliced.
            other.close()
        stream, held_at = trio.SocketStream(trio.socket.from_stdlib_socket(opened)), arrival.request.held_at
        if arrival.idle:
            await stream.aclose()
            return
        if held_at:
            try:
                await trio.lowlevel.wait_readable(opened.fileno())
            except BaseException:
                await reset(stream)
                raise
            arrival.application.counters.promotions.append(time.clock_gettime(time.CLOCK_BOOTTIME) - held_at)
        data = self._places.client(arrival.ends.remote, arrival.ends.local, arrival.application.name)
        await self._serve(arrival.application, stream, data, arrival.promoted)

    async def _serve(
        self,
        proxied: ProxiedApplication,
        stream: trio.SocketStream,
        data: ClientData,
        promoted: Promoted | None = None,
    ) -> None:
        proxied.open += 1
        try:
            if proxied.settings.tls is None:
                await self._carry(proxied, stream, data, promoted)
            elif (context := self.certificates.context(_certificates(proxied.name))) is None:
                proxied.count("tls_no_certificate")
                await reset(stream)
            else:
                await self._terminate(proxied, stream, context, data)
        finally:
            proxied.open -= 1

    async def _terminate(
        self, proxied: ProxiedApplication, stream: trio.SocketStream, context: ssl.SSLContext, data: ClientData
    ) -> None:
        async def serve(far: trio.SocketStream, agreed: Agreed) -> bool:
            return await self._carry(proxied, far, replace(data, tls=True, sni=agreed.sni, alpn=agreed.alpn))

        limits = Limits(proxied.settings.select_timeout, proxied.settings.idle_timeout, proxied.settings.idle_timeout)
        with self.farewell.awaited(proxied) as ends:
            await terminate(stream, context, serve, proxied.count, limits, ends)

    def _adopt(self, record: TcpRecord, *, guest: bool) -> tuple[socket.socket, Promoted | None]:
        """A socket, frozen, of a connection that a content proxy had. OSError if it cannot be."""
        if self._intake is None:
            return build(record, DEVICE), None
        return self._intake.adopt(record, guest=guest)

    def _returned(self, stream: trio.SocketStream, application: str, promoted: Promoted | None) -> None:
        """A connection that a content proxy had is here again."""
        proxied = self.applications.get(application)
        if proxied is None or self._nursery is None:
            reset_on_close(stream)
            stream.socket.close()
            return
        self._nursery.start_soon(self._accepted, stream, proxied, promoted)

    def _inside(self, data: ClientData) -> trio.SocketStream | None:
        """A connection for a client that begins in this process."""
        proxied = self.applications.get(data.application)
        if proxied is None or self._nursery is None:
            return None
        near, far = pair()
        self._nursery.start_soon(self._carry, proxied, far, data)
        return near

    async def _carry(
        self,
        proxied: ProxiedApplication,
        stream: trio.SocketStream,
        data: ClientData,
        promoted: Promoted | None = None,
    ) -> bool:
        """Serve a client in clear text. Closes the stream; whether it ended in order."""
        if self._looks_at(proxied) and await self._offer(stream, data, promoted):
            return True
        if proxied.relayed:
            return await self.relay.serve(stream, proxied, data, promoted)
        return await self._proxy(stream, proxied, data, promoted)

    async def _proxy(
        self, stream: trio.SocketStream, proxied: ProxiedApplication, data: ClientData, promoted: Promoted | None
    ) -> bool:
        try:
            proxy = proxied.make_proxy()
        except Exception as error:  # noqa: BLE001 - a plug-in's bug ends its connections, not the gateway
            proxied.complain(error)
            proxied.count("proxy_failed")
            await reset(stream)
            return False
        connection = Connection(proxied, proxy, stream, data, promoted)
        self.connections[connection] = None
        try:
            await connection.run()
        finally:
            del self.connections[connection]
        return not connection.cut

    def _looks_at(self, proxied: ProxiedApplication) -> bool:
        """Whether a content proxy may have connections of an application, by their ClientHellos."""
        return proxied.settings.kind == TLS_SNI and self._places.moves(proxied.name)

    async def _offer(self, stream: trio.SocketStream, data: ClientData, promoted: Promoted | None) -> bool:
        """Whether a content proxy has the connection now."""
        self._offered += 1
        try:
            return await self.transfers.offer_hello(stream, data, promoted)
        except BaseException:
            await reset(stream)
            raise
        finally:
            self._offered -= 1


def _certificates(application: str) -> str:
    return f"applications.{application}.proxy.tls"  # the key of the topology file that names them


def _address(name: tuple[str, int]) -> SocketAddress:
    return SocketAddress(ip_address(name[0]), name[1])
