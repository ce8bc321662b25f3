"""What the gateway of a transferred connection hears of the answers on it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from braid.transfer import Numbers
from braid.transfer_progress import MOST_PROMISED, Promised
from content.carry import Answering, Source
from content.promising import UNKNOWN, Promising
from content.wire import Unkept

if TYPE_CHECKING:
    from collections.abc import Iterator

ID, NUMBERS = bytes(16), Numbers((1 << 32) - 5, 1000)
FROM_FILE = Answering(
    request=7, begin=b"head", source=Source.FILE, offset=3, length=10, total=20, etag=b'"1"', last=True
)  # fmt: skip


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def heard() -> list[Promised]:
    return []


@pytest.fixture
def promising(ends: tuple[socket.socket, socket.socket], heard: list[Promised]) -> Promising:
    return Promising(Unkept(), ID, NUMBERS, ends[0], heard.append)


def test_the_first_answer_is_to_the_request_that_the_gateway_has(promising: Promising, heard: list[Promised]) -> None:
    promising.promise(FROM_FILE, 0, 0)
    (told,) = heard
    assert told == Promised(ID, NUMBERS.send_next, 1007, b"head", 3, 10, 20, b'"1"', last=True, request=b"")


def test_a_later_one_goes_with_its_request(
    promising: Promising, heard: list[Promised], ends: tuple[socket.socket, socket.socket]
) -> None:
    ends[1].sendall(b"request and more")
    ends[0].recv(1, socket.MSG_PEEK)
    promising.promise(FROM_FILE, 50, 9)
    (told,) = heard
    assert (told.first, told.request_end, told.request) == (4, 1057, b"request")


@pytest.mark.parametrize(
    ("change", "etag", "length"),
    [
        ({"etag": b'W/"1"'}, b"", 10),
        ({"source": Source.ORIGIN}, b'"1"', 10),
        ({"source": Source.UNKNOWN}, b"", UNKNOWN),
        ({"source": Source.ONCE}, b"", UNKNOWN),
        ({"source": Source.NOTHING, "length": 0}, b'"1"', 0),
    ],
)
def test_what_cannot_be_had_again(
    promising: Promising, heard: list[Promised], change: dict[str, object], etag: bytes, length: int
) -> None:
    given = {name: getattr(FROM_FILE, name) for name in FROM_FILE.__slots__} | change
    promising.promise(Answering(**given), 0, 0)
    (told,) = heard
    assert (told.etag, told.length) == (etag, length)
    assert told.offset + told.length <= told.total


def test_what_is_given_back_or_too_long_is_not_promised(promising: Promising, heard: list[Promised]) -> None:
    promising.told(Answering(source=Source.BACK))
    promising.promise(Answering(begin=bytes(MOST_PROMISED)), 0, 0)
    assert heard == []
    promising.told(FROM_FILE)
    promising.settled()
    first, idle = heard
    assert first.begin == b"head"
    assert (idle.begin, idle.length, idle.last) == (b"", 0, False)
