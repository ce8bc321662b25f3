"""Connections that leave the stack for the data plane, on loopback: no byte is lost or doubled, no peer hears of it.

The core is a fake, so what it would carry on stops there: what it owes each side is looked at instead.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tcp import repair
from braid.tcp.record import TcpRecord, Window, decode_record
from gateway.normalpath.promotion import MOST_RESIDUE, Promoted
from gateway.proxy import connection as connections
from gateway.proxy import returning
from gateway.proxy.connection import Connection
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, application, listen
from topology.model import SocketAddress, Target
from topology.proxy import TCP, ProxySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")

ANY = SocketAddress(LOOPBACK, 1)
RECORD = TcpRecord(ANY, ANY, 1, 1, 1460, (7, 9), True, 1, Window(0, 1, 1, 1, 1))
NUMBER = 7


@dataclass
class FakeCore:
    holds: bool = True
    refuses: bool = False
    calls: list[str] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    wanted: list[tuple[int, str, int, bool]] = field(default_factory=list)
    given: tuple[TcpRecord, TcpRecord, bytes, bytes] | None = None

    def take(self, connection: int) -> None:
        self.calls.append("take")

    def open_servers(self, taken: list[int], wanted: list[tuple[int, str, int, bool]]) -> list[tuple[str, int] | None]:
        self.taken += taken
        self.wanted += wanted
        return [("127.0.0.1", 0)] * len(wanted)

    def hold(self, connection: int) -> bool:
        self.calls.append("hold")
        return self.holds

    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None:
        self.calls.append("splice")
        if self.refuses:
            raise ValueError("too_long")
        assert (connection, until) == (NUMBER, None)
        self.given = decode_record(client), decode_record(server), to_client, to_server

    def reset_connection(self, connection: int) -> None:
        raise AssertionError("nothing is refused here")

    def adopt(self, record: bytes, guest: bool = False) -> int | None:
        raise AssertionError("nothing comes back here")

    def owed(self) -> tuple[bytes, bytes]:
        """What the sides do not have, as far as it is known, in order."""
        assert self.given is not None
        client, server, to_client, to_server = self.given
        return client.unsent + to_client + server.unread, server.unsent + to_server + client.unread


class OnLoopback(Promoted):
    """As if a server on the gateway's own host could be reached through the TUN. Other than there, packets to sockets
    that are no more are not kept from the stack: whoever says more is reset."""

    def __init__(self, core: FakeCore) -> None:
        super().__init__(core, NUMBER, 65_495, timestamps=False)

    def open_server(self, server: SocketAddress) -> socket.socket | None:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


@dataclass
class World:
    core: FakeCore
    application: ProxiedApplication
    ended: trio.Event = field(default_factory=trio.Event)

    async def settled(self) -> None:
        with trio.fail_after(10):
            await self.ended.wait()


@asynccontextmanager
async def spliceable(
    core: FakeCore, handle: Callable[[trio.SocketStream], Awaitable[None]], *, relay: bool
) -> AsyncIterator[tuple[World, trio.SocketStream]]:
    """A client's connection to a server, by way of an application of kind tcp that might go on in the data plane."""
    settings = ProxySettings(TCP)
    async with trio.open_nursery() as nursery:
        target = Target(LOOPBACK, await listen(nursery, handle), 1)
        made = ProxiedApplication(application((target,), settings), settings, lambda _key: True, Random(1))
        world, carrier = World(core, made), Relay("")
        nursery.start_soon(carrier.run)

        async def serve(stream: trio.SocketStream) -> None:
            promoted = OnLoopback(core)
            if relay:
                assert await carrier.serve(stream, made, CLIENT, promoted)
            else:
                connection = Connection(made, made.make_proxy(), stream, CLIENT, promoted)
                await connection.run()
                assert not connection.cut
            world.ended.set()
            await trio.sleep_forever()

        port = await listen(nursery, serve)
        client = await trio.open_tcp_stream("127.0.0.1", port)
        async with client:
            yield world, client
        nursery.cancel_scope.cancel()


async def receive(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    with trio.fail_after(20):
        while len(data) < count:
            data += (more := await stream.receive_some(65536))
            assert more, "closed"
    return data


async def silent(stream: trio.SocketStream) -> bytes:
    """What comes within a moment; neither end nor reset."""
    data = b""
    with trio.move_on_after(0.1):
        while True:
            data += (more := await stream.receive_some(65536))
            assert more, "closed"
    return data


@pytest.fixture(params=[True, False], ids=["rust", "python"])
def relay(request: pytest.FixtureRequest) -> bool:
    """Who carries the bytes."""
    return bool(request.param)


async def test_after_the_servers_first_bytes_both_sockets_go_without_a_word(relay: bool) -> None:
    core = FakeCore()
    heard = bytearray()
    servers: list[trio.SocketStream] = []

    async def server(stream: trio.SocketStream) -> None:
        servers.append(stream)
        await stream.send_all(b"220 ready\r\n")
        heard.extend(await silent(stream))
        await trio.sleep_forever()

    async with spliceable(core, server, relay=relay) as (world, client):
        await client.send_all(b"hello")
        await world.settled()
        assert core.calls == ["hold", "splice"]
        to_client, to_server = core.owed()
        received = await silent(client)
        await trio.sleep(0.05)
        assert received + to_client == b"220 ready\r\n"
        assert bytes(heard) + to_server == b"hello"
        assert world.application.counters.spliced == 1
        (target,) = world.application.targets
        assert world.application.active(target) == 1
        assert world.application.ended(NUMBER)
        assert not world.application.ended(NUMBER)
        assert world.application.active(target) == 0


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


@pytest.mark.parametrize(
    ("core", "reason", "calls"),
    [
        (FakeCore(holds=False), "not_held", ["hold"]),
        (FakeCore(refuses=True), "too_long", ["hold", "splice", "take"]),
    ],
)
async def test_what_cannot_go_stays_and_is_counted(relay: bool, core: FakeCore, reason: str, calls: list[str]) -> None:
    core.calls.clear()
    async with spliceable(core, echo, relay=relay) as (world, client):
        for _ in range(3):
            await client.send_all(b"x" * 1000)
            assert await receive(client, 1000) == b"x" * 1000
        assert core.calls == calls
        assert world.application.counters.stayed == {reason: 1}
        await client.send_eof()
        assert await client.receive_some(10) == b""
        await world.settled()


BODY = Random(22).randbytes(3_000_000)


async def source(stream: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(BODY)
    await trio.sleep_forever()


async def test_a_server_that_reads_nothing_keeps_its_connection_in_the_stack(
    relay: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning if relay else connections, "SETTLE", 0.1)
    core = FakeCore()
    settled = trio.Event()

    async def late(stream: trio.SocketStream) -> None:
        await settled.wait()
        await echo(stream)

    async with spliceable(core, late, relay=relay) as (world, client), trio.open_nursery() as nursery:
        # No other server could have all that was sent, so the proxy needs to see no more; but too much is under way.
        nursery.start_soon(client.send_all, BODY)
        for _ in range(1000):
            if world.application.counters.stayed:
                break
            await trio.sleep(0.01)
        settled.set()
        assert await receive(client, len(BODY)) == BODY
        assert world.application.counters.stayed == {"too_much_queued": 1}
        assert core.calls == []


async def test_whatever_is_under_way_is_owed_once(relay: bool) -> None:
    """A server that sends as fast as it can, to a client that begins to read late."""
    core = FakeCore()
    async with spliceable(core, source, relay=relay) as (world, client):
        await trio.sleep(0.1)
        got = bytearray()

        async def read() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    got.extend(await client.receive_some(65536))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await world.settled()
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        assert core.given is not None
        client_record, server_record, to_client, _ = core.given
        to = client_record.unacknowledged + client_record.unsent + to_client + server_record.unread
        assert len(to) <= MOST_RESIDUE
        known = len(client_record.unacknowledged)
        rest = to[known:]
        assert BODY[: len(got)] == bytes(got)
        assert BODY[len(got) : len(got) + len(rest)] == rest
        assert BODY[len(got) - known : len(got)] == client_record.unacknowledged
