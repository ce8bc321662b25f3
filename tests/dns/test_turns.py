"""Turns end by count and by time, so that the node's other tasks come to theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dns import udp
from dns.sockets import packed_address
from dns.tcp import TURN_ANSWERS, TcpService
from dns.udp import BATCH, TURN_DATAGRAMS, TURN_NS, turn
from tests.dns.zone import query, responder

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = packed_address("192.0.2.1")
QUERY = query("shop.apps.example")


class Waiting:
    """Datagrams in a socket's buffer, read as the native ones are."""

    def __init__(self, count: int, port: int = 5353) -> None:
        self.left, self.port = count, port
        self.sent: list[bytes | None] = []

    def receive(self) -> list[tuple[bytes, bytes, int]]:
        count = min(self.left, BATCH)
        self.left -= count
        return [(QUERY, CLIENT, self.port)] * count

    def send(self, answers: list[bytes | None]) -> int:
        self.sent += answers
        return 0

    def close(self) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Nanoseconds that pass between two looks at the clock."""
    steps = [0]

    def ticks() -> Iterator[int]:
        now = 0
        while True:
            yield now
            now += steps[0]

    counted = ticks()
    monkeypatch.setattr(udp, "monotonic_ns", lambda: next(counted))
    return steps


def test_udp_by_count(clock: list[int]) -> None:
    waiting = Waiting(1000)
    assert turn(waiting, responder())
    assert (waiting.left, len(waiting.sent)) == (1000 - TURN_DATAGRAMS, TURN_DATAGRAMS)
    assert clock == [0]


def test_udp_by_time(clock: list[int]) -> None:
    clock[0] = TURN_NS
    waiting = Waiting(1000)
    assert turn(waiting, responder())
    assert len(waiting.sent) == BATCH < TURN_DATAGRAMS


def test_udp_ends_when_nothing_is_left(clock: list[int]) -> None:
    waiting = Waiting(BATCH + 1)
    assert not turn(waiting, responder())
    assert len(waiting.sent) == BATCH + 1
    assert all(waiting.sent)
    assert clock == [0]


def test_nobody_answers_port_0() -> None:
    waiting, server = Waiting(3, port=0), responder()
    assert not turn(waiting, server)
    assert waiting.sent == [None] * 3
    assert server.counters.drops == {"source_port": 3}


def test_tcp_by_count() -> None:
    framed = len(QUERY).to_bytes(2, "big") + QUERY
    received = bytearray(framed * 100)
    answers, sound = TcpService(responder()).turn(received, CLIENT, False)
    assert sound
    assert len(received) == len(framed) * (100 - TURN_ANSWERS)
    count = 0
    while answers:
        answers, count = answers[2 + int.from_bytes(answers[:2], "big") :], count + 1
    assert count == TURN_ANSWERS
