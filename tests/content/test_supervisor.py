"""A content proxy of several processes on loopback: workers are killed, stopped and wrong; clients notice nothing."""

from __future__ import annotations

import os
import random
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trio

from content.supervisor import Supervisor
from content.words import Take
from tests.content.test_service import until
from tests.content.web import HOST, Client, free_port, handle, topology_of

if TYPE_CHECKING:
    from pathlib import Path

    from content.crew import Worker

BODY = random.Random(11).randbytes(8_000_000)
ASK = f"GET /a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@dataclass
class Running:
    supervisor: Supervisor
    port: int

    @property
    def events(self) -> dict[str, int]:
        status = self.supervisor.status()
        assert status is not None
        return status.events

    @property
    def worker(self) -> Worker:
        assert self.supervisor._worker is not None
        return self.supervisor._worker

    async def die(self, number: int = signal.SIGKILL) -> None:
        deaths = self.events.get("worker_deaths", 0)
        os.kill(self.worker.pid, number)
        if number == signal.SIGKILL:
            await until(lambda: self.events.get("worker_deaths", 0) > deaths)

    async def connect(self) -> Client:
        """A client that holds little, so that a body is under way for as long as it does not read."""
        opened = trio.socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        await opened.connect(("127.0.0.1", self.port))
        return Client(trio.SocketStream(opened))


@pytest.fixture
async def running(nursery: trio.Nursery, tmp_path: Path) -> Running:
    return await started(nursery, tmp_path)


async def started(nursery: trio.Nursery, tmp_path: Path, **settings: object) -> Running:
    """A proxy that stores the body."""
    port = free_port()
    topology = topology_of(tmp_path / "store", port, **settings)
    supervisor = Supervisor()
    with trio.fail_after(120):
        await nursery.start(supervisor.run, handle(lambda: topology))
    stream = await trio.open_unix_socket(tmp_path / "store" / "operator.sock")
    async with stream:
        head = f"PUT /answers?url=http://{HOST}/a HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n"
        await stream.send_all(head.encode() + b"x-store-cache-control: max-age=1000\r\n\r\n" + BODY)
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 200")
    found = Running(supervisor, port)
    await until(lambda: supervisor.status() is not None and "stored" in found.events)
    return found


async def body(client: Client, count: int) -> bytes:
    """So many bytes more, head included where it is yet to come."""
    found = bytearray()
    while len(found) < count:
        found += await client.stream.receive_some(min(65_536, count - len(found)))
    return bytes(found)


async def begin(client: Client) -> bytes:
    """The first part of the body."""
    await client.stream.send_all(ASK)
    got = bytearray()
    while b"\r\n\r\n" not in got:
        got += await client.stream.receive_some(4096)
    assert got.startswith(b"HTTP/1.1 200")
    return bytes(got.partition(b"\r\n\r\n")[2])


async def test_downloads_go_on_at_the_byte_where_their_worker_died(running: Running) -> None:
    clients = [await running.connect() for _ in range(3)]
    got = [await begin(client) for client in clients]
    for part in (1_000_000, 3_000_000):
        for index, client in enumerate(clients):
            got[index] += await body(client, part * (index + 1) // 4)
        await running.die()
    for index, client in enumerate(clients):
        got[index] += await body(client, len(BODY) - len(got[index]))
        assert got[index] == BODY
    assert running.events["resumed"] == 6
    # The same connections, and the same store.
    for client in clients:
        async with client.stream:
            again = await client.ask("/a", range="bytes=5-9")
            assert (again.status, again.body) == (206, BODY[5:10])
            assert again.cache.startswith("hit")
    assert running.events["worker_deaths"] == 2
    await until(lambda: not running.supervisor._keeper.kept)


async def test_requests_that_come_while_there_is_no_worker_are_answered(running: Running) -> None:
    idle, half = await running.connect(), await running.connect()
    await idle.ask("/a", range="bytes=0-9")
    await half.stream.send_all(ASK[:20])
    await running.die()
    fresh = await running.connect()
    assert (await fresh.ask("/a", range="bytes=0-9")).body == BODY[:10]
    assert (await idle.ask("/a", range="bytes=10-19")).body == BODY[10:20]
    await half.stream.send_all(ASK[20:])
    assert len(await body(half, len(BODY))) == len(BODY)
    for client in (idle, half, fresh):
        await client.stream.aclose()


async def test_a_worker_that_hangs_is_replaced(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("content.supervisor.SILENCE", 1.0)
    monkeypatch.setattr("content.supervisor.LOOK_EVERY", 0.2)
    client = await running.connect()
    async with client.stream:
        got = await begin(client)
        await running.die(signal.SIGSTOP)
        got += await body(client, len(BODY) - len(got))
        assert got == BODY
    assert running.events["worker_deaths"] == 1


async def test_a_worker_that_says_what_none_does_is_replaced(running: Running) -> None:
    client = await running.connect()
    async with client.stream:
        got = await begin(client)
        # It takes this for a bug of its own, and ends by it.
        running.worker.channel.post(
            Take(1 << 40, "no address", 0), running.supervisor._keeper.given()[0].socket.fileno()
        )
        got += await body(client, len(BODY) - len(got))
        assert got == BODY
    await until(lambda: running.events.get("worker_deaths") == 1)


async def test_deaths_that_come_too_fast_are_told(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine takes so long for six that one or two would be allowed again.
    monkeypatch.setattr("content.restarts.EACH", 60.0)
    for _ in range(6):
        await until(lambda: running.supervisor._worker is not None)
        await running.die()
    assert "the next one begins in" in running.supervisor.problem
    await until(lambda: not running.supervisor.problem)


async def test_the_end_waits_for_what_is_under_way(running: Running) -> None:
    idle, busy = await running.connect(), await running.connect()
    await idle.ask("/a", range="bytes=0-9")
    got = await begin(busy)
    assert running.supervisor.finish()
    assert await idle.stream.receive_some(1) == b""
    got += await body(busy, len(BODY) - len(got))
    assert got == BODY
    await until(lambda: not running.supervisor.finish())
    for client in (idle, busy):
        await client.stream.aclose()
