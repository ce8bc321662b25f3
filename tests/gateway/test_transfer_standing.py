"""How far a connection is, by its socket and by what was before it."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING, cast

import pytest

from gateway.normalpath.promotion import Promoted
from gateway.transfer.standing import of_socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid.core import ConnectionApi
    from braid.transfer_table import Standing

NOBODY = cast("ConnectionApi", None)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with client, accepted:
        yield client, accepted


def promoted(first: tuple[int, int]) -> Promoted:
    return Promoted(NOBODY, 1, 1400, timestamps=False, first=first)


def settled(accepted: socket.socket, sent: int, by: Promoted | None = None) -> Standing:
    """When the client has acknowledged so much."""
    deadline = time.monotonic() + 10
    while (found := of_socket(accepted.fileno(), by)) is None or found.sent < sent:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_socket_tells_what_came_what_was_acknowledged_and_how_much_more_may_be_sent(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    client, accepted = ends
    client.sendall(b"x" * 3000)
    accepted.recv(1000, socket.MSG_PEEK)
    accepted.sendall(b"y" * 5000)
    found = settled(accepted, 5000)
    # A socket that was accepted may count the SYN.
    assert (found.requests, found.received - 3000 in (0, 1), found.sent - 5000 in (0, 1)) == (1, True, True)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert found.window >= 10_000
    assert accepted.send(b"z") == 1, "it is the owner's as before"


def test_what_was_before_the_socket_counts_over_the_end_of_the_numbers(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    client, accepted = ends
    before, after = promoted((2**32 - 10, 7)), promoted((90, 2007))
    before.life.requests = 4
    after.go_on(before.life)
    assert before.before() == (0, 0)
    assert after.before() == (100, 2000)
    client.sendall(b"x" * 30)
    assert accepted.recv(30)
    found = settled(accepted, 100, after)
    assert (found.requests, found.received - 2030 in (0, 1), found.sent - 100 in (0, 1)) == (4, True, True)


def test_a_connection_that_is_gone_is_nowhere() -> None:
    opened = socket.socket()
    number = opened.fileno()
    opened.close()
    assert of_socket(number, None) is None
