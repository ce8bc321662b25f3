"""An answer that waits for its socket."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from content.carry import Answering
from content.held import HeldWire
from content.wire import Gone, Unkept

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        yield ours, theirs


async def test_the_first_part_waits_and_goes_out_at_once(
    ends: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    ours, theirs = ends
    theirs.send(b"request")
    held = HeldWire(ours, b"request")
    assert await held.receive() == b"request"
    done: list[str] = []

    async def answer() -> None:
        await held.send(b"answer")
        await held.send(b" and more")
        done.append("sent")

    nursery.start_soon(answer)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    assert held.start() == len(b"answer")
    assert theirs.recv(100) == b"answer", "without waiting for a task"
    await trio.testing.wait_all_tasks_blocked()
    assert (theirs.recv(100), done) == (b" and more", ["sent"])
    theirs.send(b"next")
    assert await held.receive() == b"next", "what it gave before is still in the socket"
    held.settle(len(b"request"))
    assert held.peek(4) == b"next"


async def test_what_the_socket_does_not_take_at_once_follows(
    ends: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    ours, theirs = ends
    held, data = HeldWire(ours, b""), bytes(range(256)) * 65_536
    nursery.start_soon(held.send, data)
    await trio.testing.wait_all_tasks_blocked()
    assert 0 < held.start() < len(data)
    got = b""
    while len(got) < len(data):
        await trio.lowlevel.wait_readable(theirs)
        got += theirs.recv(1 << 20)
    assert got == data


async def test_an_answer_that_is_not_ready_goes_out_when_it_is(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    held = HeldWire(ours, b"")
    assert held.start() == 0
    await held.send(b"answer")
    assert theirs.recv(100) == b"answer"


async def test_a_client_that_left_meanwhile(ends: tuple[socket.socket, socket.socket], nursery: trio.Nursery) -> None:
    ours, theirs = ends
    held, gone = HeldWire(ours, b""), trio.Event()

    async def answer() -> None:
        with pytest.raises(Gone):
            await held.send(b"answer")
        gone.set()

    nursery.start_soon(answer)
    await trio.testing.wait_all_tasks_blocked()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    assert held.start() == 0
    with trio.fail_after(5):
        await gone.wait()


async def test_whoever_keeps_the_connection_hears_of_the_answer_before_it_may_go_out(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = ends
    heard: list[Answering] = []

    class Keeper(Unkept):
        def told(self, answering: Answering, descriptor: int | None = None) -> None:
            heard.append(answering)

    held = HeldWire(ours, b"request")
    held.tell(Answering(begin=b"answer"))
    assert heard == []
    held.keep(Keeper())
    assert heard == [Answering(begin=b"answer")]
    held.start()
    held.tell(Answering(begin=b"next"))
    assert heard[1:] == [Answering(begin=b"next")]
