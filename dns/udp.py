"""DNS over UDP: drains one socket in bounded turns, so that a flood delays the node's other tasks by about 1 ms."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import trio

from dns.answer import respond
from dns.gate import MAX_QUERY

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from dns.counters import Counters
    from dns.view import View

TURN_DATAGRAMS = 64
TURN_NS = 1_000_000


async def serve_udp(bound: socket.socket, view: Callable[[], View], counters: Counters) -> None:
    """Answers on a bound non-blocking socket until cancelled; closes it. Survives every datagram and send error."""
    with bound:
        while True:
            await trio.lowlevel.wait_readable(bound)
            _drain(bound, view(), counters)


def _drain(bound: socket.socket, view: View, counters: Counters) -> None:
    end = monotonic_ns() + TURN_NS
    for _ in range(TURN_DATAGRAMS):
        try:
            # One more than is read: a longer datagram is cut here and refused by the gate for its size.
            data, client = bound.recvfrom(MAX_QUERY + 1)
        except BlockingIOError:
            return
        except OSError:
            counters.drops["receive"] += 1
            return
        if client[1] == 0:
            counters.drops["source_port"] += 1
            continue
        answer = respond(data, client[0], "udp", view, counters)
        if answer is not None:
            try:
                bound.sendto(answer, client)
            except OSError:
                counters.drops["send"] += 1
        if monotonic_ns() > end:
            return
