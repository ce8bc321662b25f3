"""DNS over UDP: drains one socket in bounded turns, so that a flood delays the node's other tasks by about 1 ms."""

from __future__ import annotations

from socket import AF_INET, inet_aton
from time import monotonic, monotonic_ns, time
from typing import TYPE_CHECKING

import trio

from dns.gate import MAX_QUERY
from dns.sockets import packed_address

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from dns.answer import Responder

TURN_DATAGRAMS = 64
TURN_NS = 1_000_000


async def serve_udp(bound: socket, responder: Responder) -> None:
    """Answers on a bound non-blocking socket until cancelled; closes it. Survives every datagram and send error."""
    # An IPv4 address needs no look at what it is; this is done for every datagram.
    packed = inet_aton if bound.family == AF_INET else packed_address
    with bound:
        while True:
            await trio.lowlevel.wait_readable(bound)
            _drain(bound, packed, responder)


def _drain(bound: socket, packed: Callable[[str], bytes], responder: Responder) -> None:
    begin = monotonic_ns()
    end, received, sent = begin + TURN_NS, 0, 0
    now, unix, counters = monotonic(), int(time()), responder.counters
    for _ in range(TURN_DATAGRAMS):
        try:
            # One more than is read: a longer datagram is cut here and refused by the gate for its size.
            data, client = bound.recvfrom(MAX_QUERY + 1)
        except BlockingIOError:
            break
        except OSError:
            counters.drops["receive"] += 1
            break
        received += len(data)
        if client[1] == 0:
            counters.drops["source_port"] += 1
            continue
        answer = responder.respond(data, packed(client[0]), "udp", now, unix)
        if answer is not None:
            try:
                sent += bound.sendto(answer, client)
            except OSError:
                counters.drops["send"] += 1
        if monotonic_ns() > end:
            break
    counters.count_turn("udp", received, sent, monotonic_ns() - begin)
