"""The proxies of a gateway at work: addresses, listeners, connections; what they show."""

from __future__ import annotations

import time
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.linux import LinuxError
from braid.process import allow_descriptors
from gateway.nat import served
from gateway.proxy import stack
from gateway.proxy.certificates import Certificates
from gateway.proxy.connection import Connection
from gateway.proxy.events import ClientData
from gateway.proxy.leg import reset_on_close
from gateway.proxy.pool import PlugInError, ProxiedApplication
from gateway.proxy.relay import Relay
from gateway.proxy.terminate import terminate
from gateway.transfer.service import TransferService
from topology.model import ServiceMode, SocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv6Address
    from random import Random

    from braid.role import NodeHandle, Situation
    from gateway.targets import TargetKey

log = logs.get(__name__)

POLL = 1.0
"""Seconds between looks at certificates."""
RETRY = 0.1
"""Seconds to wait where the process has no descriptors left."""


class ProxyService:
    def __init__(self, healthy: Callable[[TargetKey], bool], rng: Random) -> None:
        self.applications: dict[str, ProxiedApplication] = {}
        self.connections: dict[Connection, None] = {}
        """Newest last."""
        self.relay = Relay()
        """Connections that need no proxy of their own."""
        self.transfers = TransferService(self.relay, self._take_back, rng, time.time)
        self.certificates = Certificates()
        self._problems: dict[str, str] = {}
        self._healthy = healthy
        self._rng = rng
        self._local = stack.Local()
        self._listeners: dict[SocketAddress, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None

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
            if self._local != stack.Local():
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await stack.clear()

    def finish(self) -> bool:
        """Take no more connections, and end those between two requests. True while others are under way."""
        for scope in self._listeners.values():
            scope.cancel()
        self._listeners.clear()
        for connection in self.connections:
            connection.finish()
        self.relay.finish()
        return bool(self.connections or self.relay.connections)

    async def _follow(self, node: NodeHandle, nursery: trio.Nursery) -> None:
        situation = node.situation()
        mine = [each for each in served(situation.topology, situation.node) if each.mode is ServiceMode.PROXY]
        self._problems = {}
        if mine:
            allow_descriptors()
        wanted: dict[SocketAddress, ProxiedApplication] = {}
        for application in mine:
            if (proxied := self._configured(application.name, situation)) is not None:
                wanted |= dict.fromkeys(stack.listeners(situation.topology, application), proxied)
        self.applications = {each.name: self.applications[each.name] for each in mine if each.name in self.applications}
        for connection in list(self.connections):
            if connection.data.application not in self.applications:
                connection.reset()
        for relayed in list(self.relay.connections.values()):
            if relayed.data.application not in self.applications:
                self.relay.reset(relayed)
        await self._read_certificates(node)
        await self._set_up(stack.local(situation.topology, mine))
        for where in self._listeners.keys() - wanted.keys():
            self._listeners.pop(where).cancel()
        for where, proxied in wanted.items():
            if where not in self._listeners:
                self._listen(where, proxied, node, nursery)
        for what, problem in self.problems.items():
            log.error("proxy cannot be used", what=what, problem=problem)

    async def _follow_certificates(self, node: NodeHandle) -> NoReturn:
        while True:
            await trio.sleep(POLL)
            before = self.certificates.problems
            await self._read_certificates(node)
            for what, problem in self.certificates.problems.items():
                if before.get(what) != problem:
                    log.error("certificate refused, the last good one stays in use", what=what, problem=problem)

    async def _read_certificates(self, node: NodeHandle) -> None:
        wanted = {
            name: proxied.settings.tls
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

    async def _set_up(self, local: stack.Local) -> None:
        try:
            warnings = await stack.apply(self._local, local)
        except LinuxError as error:
            warnings = [str(error)]
        for warning in warnings:
            log.warning("network is not as it should be", problem=warning)
        self._local = local

    def _listen(
        self, where: SocketAddress, proxied: ProxiedApplication, node: NodeHandle, nursery: trio.Nursery
    ) -> None:
        try:
            opened = stack.listen(where)
        except OSError as error:
            remedy = "let no other program use the port on all addresses"
            self._problems[str(where)] = f"{(error.strerror or str(error)).lower()}; {remedy}"
            return
        self._listeners[where] = scope = trio.CancelScope()
        nursery.start_soon(self._accept, trio.socket.from_stdlib_socket(opened), proxied, node, scope, nursery)

    async def _accept(
        self,
        listener: trio.socket.SocketType,
        proxied: ProxiedApplication,
        node: NodeHandle,
        scope: trio.CancelScope,
        nursery: trio.Nursery,
    ) -> None:
        with scope, listener:
            while True:
                try:
                    accepted, _ = await listener.accept()
                except OSError as error:
                    # ECONNABORTED and the like are the client's; for want of descriptors time must pass.
                    proxied.count("accept_failed")
                    log.debug("connection not accepted", problem=str(error))
                    await trio.sleep(RETRY)
                    continue
                nursery.start_soon(self._serve, trio.SocketStream(accepted), proxied, node)

    async def _serve(self, stream: trio.SocketStream, proxied: ProxiedApplication, node: NodeHandle) -> None:
        proxied.counters.connections += 1
        data = _client_data(stream, proxied, node)
        if data is None or proxied.open >= proxied.settings.connections:
            proxied.count("client_reset" if data is None else "too_many_connections")
            await _reset(stream)
            return
        proxied.open += 1
        try:
            if proxied.settings.tls is None:
                await self._carry(proxied, stream, data)
            elif (context := self.certificates.context(proxied.name)) is None:
                proxied.count("tls_no_certificate")
                await _reset(stream)
            else:
                await terminate(stream, context, data, proxied, partial(self._carry, proxied))
        finally:
            proxied.open -= 1

    def _take_back(self, stream: trio.SocketStream, application: str, node: NodeHandle) -> None:
        """A connection that a content proxy had is here again."""
        proxied = self.applications.get(application)
        if proxied is None or self._nursery is None:
            reset_on_close(stream)
            stream.socket.close()
            return
        self._nursery.start_soon(self._serve, stream, proxied, node)

    async def _carry(self, proxied: ProxiedApplication, stream: trio.SocketStream, data: ClientData) -> bool:
        """Serve a client in clear text. Closes the stream; whether it ended in order."""
        if proxied.relayed:
            return await self.relay.serve(stream, proxied, data)
        return await self._proxy(stream, proxied, data)

    async def _proxy(self, stream: trio.SocketStream, proxied: ProxiedApplication, data: ClientData) -> bool:
        try:
            proxy = proxied.make_proxy()
        except Exception as error:  # noqa: BLE001 - a plug-in's bug ends its connections, not the gateway
            proxied.complain(error)
            proxied.count("proxy_failed")
            await _reset(stream)
            return False
        connection = Connection(proxied, proxy, stream, data)
        self.connections[connection] = None
        try:
            await connection.run()
        finally:
            del self.connections[connection]
        return not connection.cut


async def _reset(stream: trio.SocketStream) -> None:
    reset_on_close(stream)
    await trio.aclose_forcefully(stream)


def _client_data(stream: trio.SocketStream, proxied: ProxiedApplication, node: NodeHandle) -> ClientData | None:
    """None when the client is gone already."""
    try:
        client, vip = _address(stream.socket.getpeername()), _address(stream.socket.getsockname())
    except OSError:
        return None
    topology = node.situation().topology
    edge = next((each.edge for each in topology.vips if each.address == vip.host), "")
    region = topology.nodes[edge].region if edge in topology.nodes else ""
    return ClientData(client, vip, edge, region, proxied.name)


def _address(name: tuple[str, int]) -> SocketAddress:
    host: IPv4Address | IPv6Address = ip_address(name[0])
    return SocketAddress(host, name[1])
