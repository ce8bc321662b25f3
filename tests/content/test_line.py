"""A worker's line: what it says has the picture that the core reads, and what it hears comes whole."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from braid.transfer import Reason, Steered, TransferCommit, encode
from content.channel import Silent, pair
from content.line import KINDS, Line
from topology.values import socket_address

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT, VIP = socket_address("192.0.2.1:4000", 0), socket_address("192.0.2.2:80", 0)
Ends = tuple[Line, socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The worker's, and the core's two."""
    hears, says = pair(), pair()
    with hears[0], hears[1], says[0], says[1]:
        yield Line(hears[1], says[1]), hears[0], says[0]


def test_what_is_said_has_its_picture(ends: Ends) -> None:
    line, _, says = ends
    line.tell(31, b"message")
    line.own(CLIENT, VIP, "held")
    six = socket_address("[2001:db8::1]:1", 0), socket_address("[2001:db8::2]:443", 0)
    line.own(*six, "here")
    assert says.recv(4096) == b"\0\0\x1fmessage"
    assert says.recv(4096) == bytes([1, 2, 15, 160, 0, 80, 4, 192, 0, 2, 1, 192, 0, 2, 2])
    assert says.recv(4096) == b"\1\3" + struct.pack("!2HB", 1, 443, 6) + six[0].host.packed + six[1].host.packed


def test_what_is_served_has_its_picture(ends: Ends) -> None:
    line, _, says = ends
    line.forget()
    line.add([b"%08d\0" % number for number in range(114)])
    line.remove([b"01234567"])
    line.refuse(Reason.DRAINING)
    line.refuse(None)
    for vip in (VIP, socket_address("[2001:db8::2]:443", 0)):
        line.judge(vip.host, (31, 256))
    line.judge(VIP.host, range(1, 1000))
    line.tell(31, b"message")
    heard = [says.recv(4096) for _ in range(9)]
    assert heard[0] == b"\2\0"
    assert heard[1] == b"\2\1" + b"".join(b"%08d\0" % number for number in range(113))
    assert heard[2:6] == [b"\2\1" + b"00000113\0", b"\2\2" + b"01234567", b"\2\3\7", b"\2\3\0"]
    assert heard[6] == bytes([2, 4, 4, 192, 0, 2, 2, 0, 31, 1, 0])
    assert heard[7][:3] == b"\2\4\6"
    assert len(heard[7]) == 3 + 16 + 4
    assert heard[8] == b"\0\0\x1fmessage", "too many for one message are not judged there"


def test_a_clock_is_told_when_it_was_set(ends: Ends) -> None:
    line, _, says = ends
    zero = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    line.clock(time.time())
    line.clock(time.time())
    line.clock(time.time() + 10)
    line.forget()
    line.clock(time.time() + 10)
    line.tell(31, b"")
    heard = [says.recv(4096) for _ in range(5)]
    for message, seconds in ((heard[0], zero), (heard[1], zero + 10), (heard[3], zero + 10)):
        assert message[:2] == b"\2\5"
        assert struct.unpack("!d", message[2:])[0] == pytest.approx(seconds, abs=0.02)
    assert heard[2::2] == [b"\2\0", b"\0\0\x1f"]


async def test_what_neighbours_say_is_heard_in_its_order(ends: Ends) -> None:
    line, hears, _ = ends
    for number, refused in ((1, 0), (300, Reason.CONTENT)):
        hears.send(struct.pack("!BH", refused, number) + b"message")
    assert await line.receive() == [(1, b"message", None), (300, b"message", Reason.CONTENT)]
    hears.send(struct.pack("!BH", 0, 2) + b"last")
    hears.close()
    assert await line.receive() == [(2, b"last", None)]
    assert await line.receive() == []


def test_an_end_that_has_gone_is_noticed(ends: Ends) -> None:
    line, _, says = ends
    says.close()
    with pytest.raises(Silent):
        line.tell(31, b"message")


def test_it_hears_messages_of_transfers() -> None:
    assert encode(TransferCommit(bytes(16)))[1] in KINDS
    assert encode(Steered(bytes(16), 1, True))[1] in KINDS
