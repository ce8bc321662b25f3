"""Long answers that go on in the data plane, and connections that come back for the next request, on loopback."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from braid.tcp import repair
from gateway.proxy.connection import Connection
from gateway.proxy.pool import ProxiedApplication
from gateway.proxy.relay import Relay
from gateway.proxy.relayed import Kept
from tests.gateway.proxy_bench import CLIENT, LOOPBACK, application, exchange, http_servers, listen
from tests.gateway.test_proxy_splicing import NUMBER, FakeCore, OnLoopback
from topology.model import SocketAddress, Target
from topology.proxy import HTTP, ClientAddress, ProxySettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")

SETTINGS = ProxySettings(HTTP, splice_above=100_000)
GET = b"GET / HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"
BODY = Random(6).randbytes(700_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class Expecting(FakeCore):
    until: int | None = None

    def splice(
        self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
    ) -> None:
        self.until = until
        super().splice(connection, client, server, to_client, to_server, None)


@asynccontextmanager
async def relayed(
    nursery: trio.Nursery, made: ProxiedApplication, promoted: OnLoopback, server: Kept | None = None
) -> AsyncIterator[tuple[Relay, trio.SocketStream, Callable[[], bool]]]:
    """A client's connection to the relay, and whether it has ended in order there."""
    relay, ended = Relay(""), list[bool]()
    nursery.start_soon(relay.run)

    async def serve(stream: trio.SocketStream) -> None:
        ended.append(await relay.serve(stream, made, CLIENT, promoted, server))

    client = await trio.open_tcp_stream("127.0.0.1", await listen(nursery, serve))
    async with client:
        yield relay, client, lambda: ended == [True]


async def test_the_rest_of_a_long_answer_is_known_to_the_byte(nursery: trio.Nursery) -> None:
    async def server(stream: trio.SocketStream) -> None:
        assert await stream.receive_some(1000)
        await stream.send_all(HEAD + BODY[:300_000])
        await trio.sleep(0.3)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(BODY[300_000:])
        await trio.sleep_forever()

    target = Target(LOOPBACK, await listen(nursery, server), 1)
    made = ProxiedApplication(application((target,), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    core = Expecting()
    async with relayed(nursery, made, OnLoopback(core)) as (relay, client, ended):
        await client.send_all(GET)
        got = bytearray()
        with trio.fail_after(10):
            while not ended():
                with trio.move_on_after(0.01):
                    got += await client.receive_some(65536)
        with trio.move_on_after(0.05), suppress(trio.BrokenResourceError):
            while True:
                got += await client.receive_some(65536)
        assert core.calls[-2:] == ["hold", "splice"]
        assert ended()
        assert relay.connections == {}
    owed, received = core.owed()[0], bytes(got).partition(b"\r\n\r\n")[2]
    assert core.until is not None
    end = len(BODY) - core.until
    assert owed == BODY[end - len(owed) : end]
    assert len(received) == end - len(owed)
    assert received == BODY[: len(received)]
    # Of all that lay there no more was read than what the head came with.
    assert core.given is not None
    assert len(got) + len(core.given[0].unsent) + len(core.given[2]) <= 4096
    assert made.counters.spliced == made.counters.requests == 1
    assert made.spliced[NUMBER].server.target is target


async def test_a_connection_whose_next_request_came_too_early_goes_with_the_answer_to_that(
    nursery: trio.Nursery,
) -> None:
    class Met(FakeCore):
        def splice(
            self, connection: int, client: bytes, server: bytes, to_client: bytes, to_server: bytes, until: int | None
        ) -> None:
            if self.calls.count("splice") == 0:
                self.calls.append("splice")
                raise ValueError("not_quiet")
            super().splice(connection, client, server, to_client, to_server, None)

    async def server(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            while await stream.receive_some(1000):
                await stream.send_all(HEAD + BODY)

    target = Target(LOOPBACK, await listen(nursery, server), 1)
    made = ProxiedApplication(application((target,), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    core = Met()
    async with relayed(nursery, made, OnLoopback(core)) as (_, client, ended):
        assert (await exchange(client, GET))[2] == BODY
        assert core.calls == ["hold", "splice", "take"]
        await client.send_all(GET)
        with trio.fail_after(10):
            while not ended():
                with trio.move_on_after(0.01):
                    await client.receive_some(65536)
    assert core.calls[3:] == ["hold", "splice"]
    assert made.counters.stayed == {"not_quiet": 1}


async def test_a_connection_that_comes_back_keeps_its_server_for_the_next_request(nursery: trio.Nursery) -> None:
    one, other = await http_servers(nursery, "one", "other")
    made = ProxiedApplication(application((one.target, other.target), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    had = socket.create_connection(("127.0.0.1", one.port))
    kept = Kept(had, SocketAddress(LOOPBACK, one.port))
    async with relayed(nursery, made, OnLoopback(FakeCore()), kept) as (_, client, _):
        answers = [(await exchange(client, GET))[2] for _ in range(3)]
    # By turns: the connection that it had serves the first request, and each other server gets a new one.
    assert answers == [b"one / 0", b"other / 0", b"one / 0"]
    assert (one.connections, other.connections) == (2, 1)
    assert had.fileno() == -1


async def test_more_than_can_go_along_is_read_and_nobody_waits_for_it(nursery: trio.Nursery) -> None:
    """A connection that was spliced has told its server of a large window."""
    (one,) = await http_servers(nursery, "one")
    made = ProxiedApplication(application((one.target,), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * len(BODY))
    far.connect(near.getsockname())
    accepted, _ = near.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(BODY))

    def answer() -> None:
        accepted.recv(1000)
        accepted.sendall(HEAD + BODY)

    nursery.start_soon(trio.to_thread.run_sync, answer)
    kept = Kept(far, SocketAddress(LOOPBACK, one.port))
    async with relayed(nursery, made, OnLoopback(FakeCore(holds=False)), kept) as (_, client, _):
        with trio.fail_after(5):
            assert (await exchange(client, GET))[2] == BODY
    assert made.counters.stayed["too_much_queued"] == 0
    accepted.close()
    near.close()


async def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew(nursery: trio.Nursery) -> None:
    (one,) = await http_servers(nursery, "one")
    made = ProxiedApplication(application((one.target,), SETTINGS), SETTINGS, lambda _key: True, Random(1))
    near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
    far.connect(near.getsockname())
    accepted, _ = near.accept()
    kept = Kept(far, SocketAddress(LOOPBACK, one.port))

    async def close_when_asked() -> None:
        await trio.to_thread.run_sync(accepted.recv, 1000)
        accepted.close()

    nursery.start_soon(close_when_asked)
    async with relayed(nursery, made, OnLoopback(FakeCore()), kept) as (_, client, _):
        assert (await exchange(client, GET))[2] == b"one / 0"
    assert made.counters.servers[f"127.0.0.1:{one.port}"].failures == 0
    near.close()


async def test_servers_that_see_clients_addresses_get_connections_of_each_client(nursery: trio.Nursery) -> None:
    (one,) = await http_servers(nursery, "one")
    settings = ProxySettings(HTTP, client_address=ClientAddress.TRANSPARENT)
    made = ProxiedApplication(application((one.target,), settings), settings, lambda _key: True, Random(1))
    for clients in (1, 2):
        async with relayed(nursery, made, OnLoopback(FakeCore())) as (_, client, _):
            answers = [(await exchange(client, GET))[0] for _ in range(3)]
        assert answers == [200, 200, 200]
        assert one.connections == clients


async def test_where_the_clients_address_cannot_be_kept_it_is_told(nursery: trio.Nursery) -> None:
    class Elsewhere(FakeCore):
        def open_servers(self, taken: list[int], wanted: list[tuple[int, str, int, bool]]) -> list[None]:
            return [None] * len(wanted)

    (one,) = await http_servers(nursery, "one")
    settings = ProxySettings(HTTP, client_address=ClientAddress.TRANSPARENT)
    made = ProxiedApplication(application((one.target,), settings), settings, lambda _key: True, Random(1))
    async with relayed(nursery, made, OnLoopback(Elsewhere())) as (_, client, _):
        assert (await exchange(client, GET))[0] == 502
    assert one.connections == 0
    assert made.counters.refused["not_transparent"] == 1


@contextmanager
def in_use(port: int) -> Iterator[int]:
    """A port from which there is a connection to this one, of which the core knows nothing."""
    with socket.socket() as ends:
        ends.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ends.bind(("127.0.0.1", 0))
        ends.connect(("127.0.0.1", port))
        yield ends.getsockname()[1]


TIMES = [(1, 200), (3, 200), (4, 502)]
"""How often the core gives the port that is in use, and what the client is answered."""


@pytest.mark.parametrize(("times", "status"), TIMES)
async def test_where_the_kernel_still_ends_a_connection_there_is_another_source(
    nursery: trio.Nursery, times: int, status: int
) -> None:
    class Used(FakeCore):
        left = times

        def open_servers(
            self, taken: list[int], wanted: list[tuple[int, str, int, bool]]
        ) -> list[tuple[str, int] | None]:
            self.left -= len(wanted)
            return [("127.0.0.1", used if self.left >= 0 else 0)] * len(wanted)

    (one,) = await http_servers(nursery, "one")
    settings = ProxySettings(HTTP, client_address=ClientAddress.TRANSPARENT)
    made = ProxiedApplication(application((one.target,), settings), settings, lambda _key: True, Random(1))
    core = Used()
    with in_use(one.port) as used:
        async with relayed(nursery, made, OnLoopback(core)) as (_, client, _):
            assert (await exchange(client, GET))[0] == status
    assert core.left == (0 if status == 502 else -1)
    assert made.counters.refused == ({"server_connect_failed": 1} if status == 502 else {})


@pytest.mark.parametrize(("times", "status"), TIMES)
async def test_the_same_where_python_carries_the_bytes(nursery: trio.Nursery, times: int, status: int) -> None:
    class Used(OnLoopback):
        left = times

        def open_server(self, server: SocketAddress) -> socket.socket:
            self.left -= 1
            return repair.bound(("127.0.0.1", used if self.left >= 0 else 0), "", self.mss)

    (one,) = await http_servers(nursery, "one")
    settings = ProxySettings(HTTP, client_address=ClientAddress.TRANSPARENT)
    made = ProxiedApplication(application((one.target,), settings), settings, lambda _key: True, Random(1))
    promoted = Used(FakeCore())

    async def serve(stream: trio.SocketStream) -> None:
        await Connection(made, made.make_proxy(), stream, CLIENT, promoted).run()

    with in_use(one.port) as used:
        async with await trio.open_tcp_stream("127.0.0.1", await listen(nursery, serve)) as client:
            assert (await exchange(client, GET))[0] == status
    assert promoted.left == (0 if status == 502 else -1)
