"""What a gateway remembers of a connection that a proxy has."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from braid.transfer import Numbers
from braid.transfer_progress import Promised
from gateway.transfer.moving import Moving
from topology.model import SocketAddress

FIRST = Promised(bytes(16), (1 << 32) - 5, 500, b"head", 0, 10, 10, b'"1"', last=False, request=b"")
IDLE = replace(FIRST, first=9, begin=b"", length=0)
"""Behind the first answer."""
SECOND = replace(FIRST, first=9, request_end=600)


@pytest.mark.parametrize("order", [(FIRST, IDLE, SECOND), (SECOND, FIRST, IDLE), (IDLE, SECOND, IDLE, FIRST)])
def test_the_last_promise_counts_in_whatever_order_they_come(order: tuple[Promised, ...]) -> None:
    ends = SocketAddress(IPv4Address("10.91.1.10"), 4000), SocketAddress(IPv4Address("10.91.1.130"), 80)
    left = Numbers((1 << 32) - 105, 400)
    moving = Moving(bytes(16), "shop", *ends, "edge", "cache", 51, "content", 0.0, 0.0, None, told=left)
    for promised in order:
        moving.promise(promised)
    assert moving.promised == SECOND
    assert (moving.bytes_in, moving.bytes_out) == (200, 114), "since it left"
