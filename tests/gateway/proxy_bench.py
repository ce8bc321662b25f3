"""A proxied application on loopback: real sockets and trio, no overlay."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING, Any

import h11
import trio

from braid.tls.terminate import Limits, terminate
from gateway.proxy.connection import Connection
from gateway.proxy.events import ClientData, ServerData
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from topology.model import Application, CheckKind, HealthCheck, PortRange, Protocol, ServiceMode, SocketAddress, Target
from topology.policy import FixedCopies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from braid.tls.certificates import Certificates
    from braid.tls.terminate import Agreed
    from gateway.proxy.relayed import RelayedConnection
    from topology.proxy import ProxySettings

RELAY = True
"""Whether Rust carries the connections that it can carry; else Python does, as it does for plug-ins."""
TLS = "applications.shop.proxy.tls"
"""Where its certificates are named."""
LOOPBACK = ip_address("127.0.0.1")
CLIENT = ClientData(
    SocketAddress(ip_address("198.51.100.7"), 40000), SocketAddress(LOOPBACK, 80), "edge-fra-1", "edge-fra", "shop"
)


def application(targets: tuple[Target, ...], settings: ProxySettings) -> Application:
    return Application(
        name="shop",
        hostnames=("shop.apps.example",),
        ports=(PortRange(Protocol.TCP, 80, 80),),
        targets=targets,
        gateways=("gw-sto",),
        redundancy=FixedCopies(2),
        mode=ServiceMode.PROXY,
        check=HealthCheck(CheckKind.NONE, 80, "/", 1.0, 0.5, 2, 2),
        proxy=settings,
    )


@dataclass
class HttpServer:
    """Answers each request with its name, and keeps what it was asked."""

    name: str
    seen: list[h11.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def target(self) -> Target:
        return Target(LOOPBACK, self.port, 1)

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        parser = h11.Connection(h11.SERVER)
        body = b""
        while True:
            event = parser.next_event()
            match event:
                case h11.NEED_DATA:
                    if parser.they_are_waiting_for_100_continue:
                        await self._send(stream, parser, h11.InformationalResponse(status_code=100, headers=[]))
                    try:
                        parser.receive_data(await stream.receive_some(65536))
                    except trio.BrokenResourceError:
                        return
                case h11.Request():
                    self.seen.append(event)
                    body = b""
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    self.bodies.append(body)
                    await self.answer(stream, parser, body)
                    if parser.our_state is not h11.DONE:
                        return
                    parser.start_next_cycle()
                case _:
                    return

    async def answer(self, stream: trio.SocketStream, parser: h11.Connection, body: bytes) -> None:
        text = f"{self.name} {self.seen[-1].target.decode()} {len(body)}".encode()
        head = h11.Response(status_code=200, headers=[(b"content-length", str(len(text)).encode())])
        await self._send(stream, parser, head)
        if self.seen[-1].method != b"HEAD":
            await self._send(stream, parser, h11.Data(data=text))
        await self._send(stream, parser, h11.EndOfMessage())

    @staticmethod
    async def _send(stream: trio.SocketStream, parser: h11.Connection, event: Any) -> None:
        await stream.send_all(parser.send(event) or b"")


async def listen(nursery: trio.Nursery, handle: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
    """Serve connections to a port of loopback; the port."""

    async def closing(stream: trio.SocketStream) -> None:
        async with stream:
            await handle(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, closing, listeners)
    return int(listeners[0].socket.getsockname()[1])


async def http_servers(nursery: trio.Nursery, *names: str) -> list[HttpServer]:
    servers = [HttpServer(name) for name in names]
    for server in servers:
        server.port = await listen(nursery, server.handle)
    return servers


def free_port() -> int:
    """Of loopback, where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Proxied:
    application: ProxiedApplication
    port: int
    connections: list[Connection | RelayedConnection]
    relay: Relay
    finishing: trio.Event

    clients: list[trio.SocketStream] = field(default_factory=list)

    async def connect(self) -> trio.SocketStream:
        self.clients.append(await trio.open_tcp_stream("127.0.0.1", self.port))
        return self.clients[-1]

    def finish(self) -> None:
        self.finishing.set()
        self.relay.finish()
        for each in self.connections:
            if isinstance(each, Connection):
                each.finish()

    def there(self, index: int) -> bool:
        """Whether a connection has its socket still."""
        connection = self.connections[index]
        if isinstance(connection, Connection):
            return connection.client.stream.socket.fileno() >= 0
        return not connection.ended.is_set()

    def verdict(self, index: int) -> ServerData | None:
        connection = self.connections[index]
        return connection.verdict if isinstance(connection, Connection) else connection.server

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.application.counters.refused)


@asynccontextmanager
async def proxied(
    settings: ProxySettings,
    *targets: Target,
    data: ClientData = CLIENT,
    healthy: Callable[[Any], bool] | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[Proxied]:
    """The application behind a port of loopback; everything ends with the block."""
    made = ProxiedApplication(application(targets, settings), settings, healthy or (lambda _key: True), Random(1))
    connections: list[Connection | RelayedConnection] = []
    relay = Relay()

    async def carry(stream: trio.SocketStream, data: ClientData) -> bool:
        if made.relayed and RELAY:
            relayed = relay.adopt(stream.socket.fileno(), made, data)
            await trio.aclose_forcefully(stream)
            connections.append(relayed)
            await relayed.ended.wait()
            return relayed.whole
        connections.append(carried := Connection(made, made.make_proxy(), stream, data))
        await carried.run()
        return not carried.cut

    async def serve(stream: trio.SocketStream) -> None:
        if certificates is None:
            await carry(stream, data)
            return
        context = certificates.context(TLS)
        assert context is not None

        async def clear(far: trio.SocketStream, agreed: Agreed) -> bool:
            return await carry(far, replace(data, tls=True, sni=agreed.sni, alpn=agreed.alpn))

        limits = Limits(settings.select_timeout, settings.idle_timeout, settings.idle_timeout)
        await terminate(stream, context, clear, made.count, limits, finishing)

    finishing = trio.Event()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        nursery.start_soon(relay.run)
        yielded = Proxied(made, int(listeners[0].socket.getsockname()[1]), connections, relay, finishing)
        try:
            yield yielded
        finally:
            for client in yielded.clients:
                await trio.aclose_forcefully(client)
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.SocketStream) -> bytes:
    """Until the peer has finished; a reset raises trio.BrokenResourceError."""
    found = b""
    with trio.fail_after(10):
        while data := await stream.receive_some(65536):
            found += data
    return found


async def exchange(
    stream: trio.SocketStream, raw: bytes, method: bytes = b"GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send a request and read its answer: status, headers, body."""
    await stream.send_all(raw)
    return await read_answer(stream, h11.Connection(h11.CLIENT), method)


async def read_answer(
    stream: trio.SocketStream, parser: h11.Connection, method: bytes = b"GET"
) -> tuple[int, dict[bytes, bytes], bytes]:
    parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    with trio.fail_after(10):
        while True:
            event = parser.next_event()
            match event:
                case h11.NEED_DATA:
                    parser.receive_data(await stream.receive_some(65536))
                case h11.Response():
                    status, headers = event.status_code, dict(event.headers)
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    return status, headers, body
                case h11.ConnectionClosed():
                    raise AssertionError("closed before the end of the answer")
