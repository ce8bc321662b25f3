"""Connections that the relay takes from the fast path, many in a turn, on loopback: the core is a fake."""

from __future__ import annotations

import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.events import ServiceRequest
from braid.tcp import repair
from braid.tcp.record import decode_ends, encode_record
from gateway.normalpath.promotion import Promoted
from gateway.proxy.intake import Arrival
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import HOLD, Relay
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, application, listen
from tests.gateway.test_proxy_splicing import FakeCore, silent
from topology.model import Target
from topology.proxy import HTTP, TCP, ProxySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")


@dataclass
class Core(FakeCore):
    asked: list[tuple[int, int]] = field(default_factory=list)
    """How many were taken and wanted at once."""

    def open_servers(self, taken: list[int], wanted: list[tuple[int, str, int, bool]]) -> list[tuple[str, int] | None]:
        self.asked.append((len(taken), len(wanted)))
        return super().open_servers(taken, wanted)

    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None:
        self.calls.append("splice")
        if self.refuses:
            raise ValueError("too_long")


@dataclass
class World:
    relay: Relay
    core: Core
    application: ProxiedApplication
    done: list[int] = field(default_factory=list)
    clients: list[trio.SocketStream] = field(default_factory=list)

    async def arrive(self, number: int, *, idle: bool = False) -> tuple[trio.SocketStream, Promoted]:
        """A client whose connection the fast path had: a socket that was frozen stands for that."""
        listener = socket.create_server(("127.0.0.1", 0))
        client = await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])
        self.clients.append(client)
        accepted, _ = listener.accept()
        listener.close()
        accepted.setblocking(False)
        record = encode_record(repair.freeze(accepted))
        repair.dissolve(accepted)
        ends = decode_ends(record)
        promoted = Promoted(self.core, number, 65_495, timestamps=False)
        arrival = Arrival(self.application, promoted, ends, ServiceRequest(number, record, None, 0.0), None, idle)
        self.relay.promote(arrival, CLIENT, lambda: self.done.append(number))
        return client, promoted

    async def answered(self, count: int) -> None:
        for _ in range(1000):
            if self.application.counters.requests >= count:
                return
            await trio.sleep(0.005)
        raise AssertionError("no server")


@asynccontextmanager
async def world(
    handle: Callable[[trio.SocketStream], Awaitable[None]], core: Core, kind: str = TCP
) -> AsyncIterator[World]:
    settings = ProxySettings(kind)
    async with trio.open_nursery() as nursery:
        target = Target(LOOPBACK, await listen(nursery, handle), 1)
        made = ProxiedApplication(application((target,), settings), settings, lambda _key: True, Random(1))
        relay = Relay("")
        nursery.start_soon(relay.run)
        there = World(relay, core, made)
        try:
            yield there
        finally:
            for client in there.clients:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await trio.aclose_forcefully(client)
            nursery.cancel_scope.cancel()


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def echo(stream: trio.SocketStream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def test_those_of_a_turn_are_let_in_and_leased_together() -> None:
    async with world(echo, Core()) as there:
        for number in range(1, 4):
            await there.arrive(number)
        assert there.core.asked == []
        there.relay.settle()
        assert there.core.asked == [(3, 3)]
        assert there.core.taken == [1, 2, 3]
        (port,) = {target.port for target in there.application.targets}
        assert there.core.wanted == [(number, "127.0.0.1", port, True) for number in range(1, 4)]
        await there.answered(3)
        there.relay.settle()
        assert len(there.core.asked) == 1


async def test_one_that_has_been_idle_for_too_long_ends_in_good_order() -> None:
    async with world(echo, Core(), HTTP) as there:
        client, _ = await there.arrive(1, idle=True)
        await there.arrive(2)
        there.relay.settle()
        assert there.core.taken == [1, 2]
        with trio.fail_after(5):
            assert await client.receive_some() == b""
            await client.send_eof()
            while not there.done:  # noqa: ASYNC110 - the relay has no event for it
                await trio.sleep(0.005)
        assert there.done == [1]
        assert [each.promoted.number for each in there.relay.connections.values() if each.promoted] == [2]


async def read_and_say_nothing(stream: trio.SocketStream) -> None:
    while await stream.receive_some(65536):
        pass


async def test_what_the_core_holds_goes_without_a_word_of_the_server_in_the_stack() -> None:
    async with world(read_and_say_nothing, Core()) as there:
        client, promoted = await there.arrive(1)
        there.relay.settle()
        await there.answered(1)
        await client.send_all(b"hello")
        await trio.sleep(0.05)
        there.relay.hold(promoted, clock())
        there.relay.settle()
        assert there.core.calls == ["splice"]
        assert (there.done, there.relay.connections, promoted.away) == ([1], {}, True)
        assert there.application.counters.spliced == 1
        (target,) = there.application.targets
        assert there.application.active(target) == 1
        assert await silent(client) == b""


@pytest.mark.parametrize("why", ["late", "draining", "refused", "unknown"])
async def test_what_is_held_and_does_not_go_is_the_stacks_again(why: str) -> None:
    async with world(echo, Core(refuses=why == "refused")) as there:
        client, promoted = await there.arrive(1)
        there.relay.settle()
        await there.answered(1)
        at = clock()
        if why == "late":
            at -= HOLD + 0.1
        elif why == "draining":
            there.relay.finish()
        elif why == "unknown":
            promoted = Promoted(there.core, 2, 1000, timestamps=False)
        there.core.taken.clear()
        there.relay.hold(promoted, at)
        there.relay.settle()
        if why == "refused":
            # Who gives it back says so itself.
            assert (there.core.calls, there.core.taken) == (["splice", "take"], [])
            assert there.application.counters.stayed == {"too_long": 1}
        else:
            assert (there.core.calls, there.core.taken) == ([], [promoted.number])
        there.core.holds = False
        await client.send_all(b"hello")
        with trio.fail_after(2):
            assert await client.receive_some(100) == b"hello"


async def test_where_no_address_can_be_had_an_ordinary_socket_serves_and_it_stays() -> None:
    class Elsewhere(Core):
        def open_servers(
            self, taken: list[int], wanted: list[tuple[int, str, int, bool]]
        ) -> list[tuple[str, int] | None]:
            # The first is in use: the server listens there.
            return [("127.0.0.1", port) if number == 1 else None for number, _, port, _ in wanted]

    async with world(echo, Elsewhere()) as there:
        clients = [(await there.arrive(number))[0] for number in (1, 2)]
        there.relay.settle()
        for client in clients:
            await client.send_all(b"hello")
            with trio.fail_after(2):
                assert await client.receive_some(100) == b"hello"
        assert there.application.counters.stayed == {"server_not_translatable": 2}
