"""Kept connections on loopback: what a worker has done to its copy of a socket, its successor is told exactly."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from braid.tcp import repair
from content.carry import Answering, Source
from content.clerk import Clerk
from content.keeper import STUCK, Keeper, Kept
from content.remote import Remote
from content.words import Keep, Know, Word, decode, encode
from tests.content.web import handle

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
ANSWERING = Answering(request=len(REQUEST), begin=b"head", source=Source.FILE, length=10, total=10)


class Ends:
    """A client, a worker, and the keeper between them."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            accepted, _ = listener.accept()
        self.keeper = Keeper()
        self.kept = self.keeper.accepted(accepted, "127.0.0.1", 0)
        self.worker = accepted.dup()

    def told(self, answering: Answering = ANSWERING) -> int:
        """A file's descriptor that the keeper has now."""
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.keeper.told(self.kept.id, answering, descriptor)
        return descriptor

    def die(self) -> list[Kept]:
        self.worker.close()
        over = self.keeper.carry_on()
        if self.keeper.kept:
            self.worker = self.kept.socket.dup()
        return over

    def close(self) -> None:
        self.keeper.close()
        self.client.close()
        self.worker.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_an_answer_goes_on_at_the_next_byte_and_again(ends: Ends) -> None:
    ends.client.sendall(REQUEST)
    descriptor = ends.told()
    assert ends.worker.recv(100, socket.MSG_PEEK) == REQUEST
    ends.worker.sendall(b"head012")
    ends.die()
    (kept,) = ends.keeper.given()
    assert kept.answering == Answering(len(b""), len(REQUEST), 0, b"", Source.FILE, 3, 7, 10)
    assert kept.body == descriptor
    assert is_open(descriptor)
    ends.worker.sendall(b"3456")
    ends.die()
    assert kept.answering == Answering(0, len(REQUEST), 0, b"", Source.FILE, 7, 3, 10)
    ends.worker.sendall(b"789")
    ends.worker.recv(len(REQUEST))
    ends.die()
    assert kept.answering is None
    assert not is_open(descriptor)
    assert ends.client.recv(100) == b"head0123456789"
    assert ends.keeper.counts == {"carried": 3, "resumed": 2}


def test_the_client_hears_nothing_of_a_death_and_all_of_an_end(ends: Ends) -> None:
    ends.die()
    ends.client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        ends.client.recv(1)
    ends.worker.close()
    ends.keeper.ended(ends.kept.id)
    assert ends.client.recv(1) == b""
    assert not ends.keeper.kept


def test_what_cannot_go_on_is_reset(ends: Ends) -> None:
    ends.client.sendall(REQUEST)
    descriptor = ends.told(Answering(source=Source.ONCE))
    assert ends.die() == []
    assert not is_open(descriptor)
    with pytest.raises(ConnectionResetError):
        ends.client.recv(1)
    assert ends.keeper.counts["reset/unsafe"] == 1


def test_a_request_by_which_workers_die_is_given_up(ends: Ends) -> None:
    ends.client.sendall(REQUEST)
    for _ in range(STUCK - 1):
        ends.die()
        assert ends.keeper.kept
    ends.die()
    assert ends.keeper.counts["reset/stuck"] == 1


def test_a_connection_without_a_request_waits_through_any_number_of_deaths(ends: Ends) -> None:
    for _ in range(STUCK + 5):
        ends.die()
    assert ends.keeper.kept


def test_a_client_that_has_left_is_not_carried_on(ends: Ends) -> None:
    ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends.client.close()
    ends.die()
    assert not ends.keeper.kept
    assert ends.keeper.counts["carried"] == 0


def test_transferred_connections_that_are_over_are_told(ends: Ends) -> None:
    accepted = ends.kept.socket.dup()
    ends.keeper.transferred(Keep(1 << 62, "192.0.2.1:1000", "192.0.2.2:80", 0, 0, b"facts"), accepted)
    ends.keeper.told(1 << 62, Answering(source=Source.ONCE), -1)
    (over,) = ends.keeper.carry_on()
    assert (over.client, over.vip) == ("192.0.2.1:1000", "192.0.2.2:80")


def test_what_a_worker_learns_of_a_transferred_connection_the_next_one_knows(ends: Ends) -> None:
    never: Any = None
    clerk, accepted = Clerk(never, ends.keeper), ends.kept.socket.dup()
    ends.keeper.transferred(Keep(1 << 62, "192.0.2.1:1000", "192.0.2.2:80", 0, 0, b"facts"), accepted)
    clerk.do(Know(1 << 62, b"others"), [])
    clerk.do(Know(1, b"of none"), [])
    assert [kept.facts for kept in ends.keeper.given() if kept.vip] == [b"others"]


@pytest.mark.skipif(repair.unavailable() is not None, reason=f"{repair.unavailable()}")
@pytest.mark.parametrize("source", [None, Source.FILE, Source.UNKNOWN, Source.ONCE])
def test_at_the_end_nobody_hears_of_those_that_their_gateways_may_go_on_with(ends: Ends, source: Source | None) -> None:
    owners: list[str] = []
    never: Any = None
    node = replace(
        handle(lambda: never), set_owner=lambda _client, _vip, owner, wait=True: bool(owners.append(owner) or wait)
    )
    opened = ends.kept.socket.dup()
    ends.keeper.ended(ends.kept.id)
    ends.worker.close()
    ends.keeper.transferred(Keep(1 << 62, "192.0.2.1:1000", "192.0.2.2:80", 0, 0, b"facts"), opened)
    if source is not None:
        descriptor = os.open("/dev/null", os.O_RDONLY) if source is Source.FILE else -1
        ends.keeper.told(1 << 62, Answering(source=source), descriptor)
    Clerk(node, ends.keeper).close()
    assert not ends.keeper.kept
    ends.client.settimeout(0.2)
    if source is Source.ONCE:
        assert ends.client.recv(1) == b""
        assert owners == []
    else:
        with pytest.raises(TimeoutError):
            ends.client.recv(1)
        assert owners == ["held"], "nor does the kernel answer what still comes"


def test_what_a_transferred_connection_sent_before_its_keeper_heard_of_it_counts(ends: Ends) -> None:
    said: list[tuple[bytes, list[int]]] = []

    class Late:
        def send(self, word: Word, *descriptors: int) -> None:
            self.send_encoded(encode(word), *descriptors)

        def send_encoded(self, message: bytes, *descriptors: int) -> None:
            said.append((message, [os.dup(descriptor) for descriptor in descriptors]))

    body = os.memfd_create("body")
    remote = Remote(None, Late(), None)  # type: ignore[arg-type]
    ends.client.sendall(REQUEST)
    keep = remote.keep(ends.worker, "192.0.2.1:1000", "192.0.2.2:80", b"facts")
    assert not said, "one that never emits is nothing to the keeper"
    keeping = keep()
    keeping.told(ANSWERING, body)
    ends.worker.sendall(b"head" + b"body")
    ends.keeper.ended(ends.kept.id)
    clerk = Clerk(None, ends.keeper)  # type: ignore[arg-type]
    for message, descriptors in said:
        clerk.do(decode(message), descriptors)
    (ends.kept,) = ends.keeper.kept.values()
    ends.die()
    os.close(body)
    assert ends.kept.answering == replace(ANSWERING, begin=b"", offset=4, length=6)


def test_messages_about_others_are_counted_and_their_descriptors_closed(ends: Ends) -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    ends.keeper.told(99, ANSWERING, descriptor)
    ends.keeper.settled(99)
    ends.keeper.ended(99)
    assert not is_open(descriptor)
    assert ends.keeper.counts["stray"] == 3
