"""Connections between two requests that go back to the data plane without a server, on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tcp import repair
from braid.tcp.record import decode_record
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from tests.gateway.proxy_bench import CLIENT, HttpServer, application, exchange, http_servers, listen
from tests.gateway.test_proxy_splicing import NUMBER, FakeCore, OnLoopback
from topology.proxy import HTTP, ProxySettings

if TYPE_CHECKING:
    from braid.tcp.record import TcpRecord

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")

SETTINGS = ProxySettings(HTTP)
GET = b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


@dataclass
class Lot(FakeCore):
    parked: tuple[TcpRecord, bytes] | None = None

    def hold_alone(self, connection: int) -> bool:
        assert connection == NUMBER
        self.calls.append("hold_alone")
        return self.holds

    def park(self, connection: int, client: bytes, to_client: bytes) -> None:
        assert connection == NUMBER
        self.calls.append("park")
        self.parked = decode_record(client), to_client


class World:
    def __init__(self, nursery: trio.Nursery, server: HttpServer, core: Lot, *, guest: bool) -> None:
        self.relay, self.promoted = Relay(""), OnLoopback(core)
        self.promoted.guest = guest
        self.application = ProxiedApplication(
            application((server.target,), SETTINGS), SETTINGS, lambda _key: True, Random(1)
        )
        self._ended, self._whole = trio.Event(), False
        nursery.start_soon(self.relay.run)

    async def serve(self, stream: trio.SocketStream) -> None:
        # As a process has one that is being started just then.
        with stream.socket.dup():
            self._whole = await self.relay.serve(stream, self.application, CLIENT, self.promoted)
            self._ended.set()
            await trio.sleep_forever()

    async def ended(self) -> bool:
        """Waits for it; whether it was in order, or parked."""
        await self._ended.wait()
        return self._whole


async def test_a_connection_between_two_requests_is_parked_and_its_server_serves_others(nursery: trio.Nursery) -> None:
    (one,), core = await http_servers(nursery, "one"), Lot()
    world = World(nursery, one, core, guest=False)
    client = await trio.open_tcp_stream("127.0.0.1", await listen(nursery, world.serve))
    assert (await exchange(client, GET))[2] == b"one / 0"
    world.relay.let_go((), guests=True)
    assert core.calls == [], "it is no guest"
    world.relay.let_go((), guests=False)
    assert core.calls == ["hold_alone", "park"]
    with trio.fail_after(5):
        assert await world.ended()
    assert world.relay.connections == {}
    assert (world.application.counters.spliced, dict(world.application.counters.stayed)) == (0, {})
    assert core.parked is not None
    record, to_client = core.parked
    assert (record.unread, to_client) == (b"", b"")
    # The next request may be there at once.
    repair.dissolve(repair.build(record))
    await client.aclose()


async def test_one_whose_answer_is_under_way_is_parked_at_its_end(nursery: trio.Nursery) -> None:
    go_on = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await go_on.wait()
        await stream.send_all(b"0\r\n\r\n")
        await trio.sleep_forever()

    server, core = HttpServer("one"), Lot()
    server.port = await listen(nursery, serve)
    world = World(nursery, server, core, guest=True)
    client = await trio.open_tcp_stream("127.0.0.1", await listen(nursery, world.serve))
    await client.send_all(GET)
    assert await client.receive_some(1000)
    world.relay.let_go((), guests=True)
    assert core.calls == []
    go_on.set()
    with trio.fail_after(5):
        assert await world.ended()
    assert core.calls == ["hold_alone", "park"]
    assert core.parked is not None
    # What the frozen socket never sent, the data plane does.
    sent = b""
    with trio.move_on_after(0.1):
        sent = bytes(await client.receive_some(1000))
    assert (sent + core.parked[0].unsent + core.parked[1]).endswith(b"0\r\n\r\n")
    await client.aclose()


async def test_one_that_cannot_be_held_goes_on(nursery: trio.Nursery) -> None:
    (one,), core = await http_servers(nursery, "one"), Lot(holds=False)
    world = World(nursery, one, core, guest=False)
    client = await trio.open_tcp_stream("127.0.0.1", await listen(nursery, world.serve))
    for turn in range(3):
        assert (await exchange(client, GET))[2] == b"one / 0"
        world.relay.let_go((), guests=False)
        assert len(world.relay.connections) == 1, turn
    assert set(core.calls) == {"hold_alone"}
    await client.aclose()
    with trio.fail_after(5):
        assert await world.ended()
