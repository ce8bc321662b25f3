"""An origin server on loopback that answers as a test says, and a client that talks to a content proxy."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import h11
import trio

from braid.role import NodeHandle
from content.listeners import accept, open_listeners
from content.service import ContentService
from content.settings import take_directory
from content.wire import Unkept
from tests.delegations import situation
from tests.topology.base import changed
from topology.model import SocketAddress
from topology.source import parse

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from topology.model import Topology

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
LOOPBACK = ip_address("127.0.0.1")
HOST = "shop.apps.example"


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunked: bool = False
    cut: int | None = None
    """Close after so many bytes of the body."""
    hold: trio.Event | None = None
    """Wait for it before the last half of the body."""


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Origin:
    """``tls``: it speaks that."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.asked: list[Asked] = []
        self.reply: Callable[[Asked], Reply | Awaitable[Reply]] = lambda _asked: Reply()
        self.connections = 0
        self._streams: list[trio.SocketStream] = []
        self.port = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    def close_all(self) -> None:
        for stream in self._streams:
            stream.socket.shutdown(socket.SHUT_RDWR)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self._streams.append(stream)
        parser = h11.Connection(h11.SERVER)
        carried = stream if self._tls is None else trio.SSLStream(stream, self._tls, server_side=True)
        try:
            async with carried:
                while await self._one(carried, parser):
                    parser.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            return

    async def _one(self, stream: Stream, parser: h11.Connection) -> bool:
        request, body = None, b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            match event:
                case h11.NEED_DATA:
                    parser.receive_data(bytes(await stream.receive_some(65536)))
                case h11.Request():
                    request = event
                case h11.Data(data=data):
                    body += bytes(data)
                case _:
                    return False
        assert request is not None
        headers = {name.decode(): value.decode() for name, value in request.headers}
        asked = Asked(request.method.decode(), request.target.decode(), headers, body)
        self.asked.append(asked)
        made = self.reply(asked)
        reply = made if isinstance(made, Reply) else await made
        told = dict(reply.headers)
        if not reply.chunked and reply.status != 304:
            told["content-length"] = str(len(reply.body))
        await stream.send_all(
            parser.send(h11.Response(status_code=reply.status, headers=[*told.items()])) or b""  # type: ignore[arg-type]
        )
        half = len(reply.body) // 2
        for part in (reply.body[:half], reply.body[half:]):
            if reply.cut is not None:
                await stream.send_all(parser.send(h11.Data(data=part[: reply.cut])) or b"")
                return False
            if asked.method != "HEAD" and part:
                await stream.send_all(parser.send(h11.Data(data=part)) or b"")
            if part is not reply.body[half:] and reply.hold is not None:
                await reply.hold.wait()
        await stream.send_all(parser.send(h11.EndOfMessage()) or b"")
        return parser.our_state is h11.DONE


@dataclass
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache(self) -> str:
        return self.headers["cache-status"].partition("; ")[2]


@dataclass
class Proxied:
    """A content proxy in front of an origin. ``now`` is its wall clock."""

    origin: Origin
    service: ContentService
    port: int
    directory: Path
    now: list[float]

    async def connect(self) -> Client:
        return Client(await trio.open_tcp_stream("127.0.0.1", self.port))

    async def get(self, path: str = "/a", method: str = "GET", body: bytes = b"", **headers: str) -> Answered:
        client = await self.connect()
        async with client.stream:
            return await client.ask(path, method, body, **headers)

    @property
    def requests(self) -> dict[str, int]:
        status = self.service.status()
        assert status is not None
        return {outcome: count for outcome, count in status.requests.items() if count}

    @property
    def events(self) -> dict[str, int]:
        status = self.service.status()
        assert status is not None
        return status.events


class Client:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.parser = h11.Connection(h11.CLIENT)

    async def ask(self, path: str = "/a", method: str = "GET", body: bytes = b"", **headers: str) -> Answered:
        told: dict[str, str] = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            told["content-length"] = str(len(body))
        send = self.parser.send
        await self.stream.send_all(
            (send(h11.Request(method=method, target=path, headers=[*told.items()])) or b"")  # type: ignore[arg-type]
            + (send(h11.Data(data=body)) or b"" if body else b"")
            + (send(h11.EndOfMessage()) or b"")
        )
        response, received = None, b""
        while not isinstance(event := self.parser.next_event(), h11.EndOfMessage):
            match event:
                case h11.NEED_DATA:
                    self.parser.receive_data(bytes(await self.stream.receive_some(65536)))
                case h11.Response():
                    response = event
                case h11.Data(data=data):
                    received += bytes(data)
        assert response is not None
        if self.parser.our_state is self.parser.their_state is h11.DONE:
            self.parser.start_next_cycle()
        names = {name.decode(): value.decode() for name, value in response.headers}
        return Answered(response.status_code, names, received)


def topology_of(directory: Path, port: int, *changes: tuple[str, str], **settings: object) -> Topology:
    content = {"listen": f'["127.0.0.1:{port}"]', "directory": directory, "applications": "[shop]", **settings}
    written = ", ".join(f"{name}: {value}" for name, value in content.items())
    return parse(
        changed(
            ("  d: {role: dns}\n", "  d: {role: dns}\n  c: {role: content}\n"),
            ("links:", f"  c-1: {{region: c, underlay: [192.0.2.6], content: {{{written}}}}}\nlinks:"),
            *changes,
        ),
        "test",
    )


def handle(topology: Callable[[], Topology], reloaded: Callable[[], trio.Event] | None = None) -> NodeHandle:
    never = trio.Event()

    def unused(*_words: object) -> Any:
        raise AssertionError("not for a content proxy")

    return NodeHandle(
        situation=lambda: situation(topology(), "c-1"),
        replan=unused,
        send_control=unused,
        changed=lambda: never,
        reloaded=reloaded or (lambda: never),
        set_syn_keys=unused,
        tell=unused,
        send_to_peer=unused,
        set_owner=unused,
        hear=unused,
        held=unused,
        draining=lambda: False,
        ready=lambda: True,
        traffic=dict,
    )


async def proxied(
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    directory: Path,
    *,
    largest: int | None = None,
    origin: Origin | None = None,
    changes: tuple[tuple[str, str], ...] = (),
    **settings: object,
) -> Proxied:
    origin = origin or Origin()
    await nursery.start(origin.run)
    monkeypatch.setattr("content.sites.Sites._addresses", lambda *_: (SocketAddress(LOOPBACK, origin.port),))
    port = free_port()
    now = [1_700_000_000.0]
    service = ContentService(lambda: now[0])
    topology = topology_of(directory, port, *changes, **settings)
    os.close(take_directory(directory))
    await nursery.start(service.run, handle(lambda: topology))
    assert service.cache is not None
    content = topology.nodes["c-1"].content
    assert content is not None

    def take(opened: socket.socket, client: str) -> None:
        nursery.start_soon(service.serve, opened, ip_address(client), Unkept())

    def take_tls(opened: socket.socket, client: str) -> None:
        opened.setblocking(False)
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(opened))
        nursery.start_soon(service.serve_secure, stream, ip_address(client), Unkept())

    for listener in await open_listeners(content.listen, "content.listen"):
        nursery.start_soon(accept, listener, take)
    for listener in await open_listeners(content.tls_listen, "content.tls.listen"):
        nursery.start_soon(accept, listener, take_tls)
    if largest is not None:
        service.cache.largest = largest
    return Proxied(origin, service, port, directory, now)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
