"""DNS over UDP: drains one socket in bounded turns, so that a flood delays the node's other tasks by about 1 ms."""

from __future__ import annotations

from contextlib import closing
from time import monotonic, monotonic_ns, time
from typing import TYPE_CHECKING

import trio

from braid.datagrams import open_datagrams
from dns.gate import MAX_QUERY

if TYPE_CHECKING:
    from socket import socket

    from braid.datagrams import Datagrams
    from dns.answer import Responder

BATCH = 32
"""Datagrams that are received, and then answered, at once."""
TURN_DATAGRAMS = 64
TURN_NS = 1_000_000


async def serve_udp(bound: socket, responder: Responder) -> None:
    """Answers on a bound non-blocking socket until cancelled; closes it. Survives every datagram and send error."""
    # One byte more than is read: a longer datagram is cut here and refused by the gate for its size.
    with bound, closing(open_datagrams(bound, BATCH, MAX_QUERY + 1)) as datagrams:
        while True:
            await trio.lowlevel.wait_readable(bound)
            while turn(datagrams, responder):
                await trio.lowlevel.checkpoint()


def turn(datagrams: Datagrams, responder: Responder) -> bool:
    """Answers what has come, as far as a turn goes; whether there may be more."""
    begin = end = monotonic_ns()
    clock, unix, counters, respond = monotonic(), int(time()), responder.counters, responder.respond
    more, count = True, 0
    while more and count < TURN_DATAGRAMS and end < begin + TURN_NS:
        start = end
        try:
            batch = datagrams.receive()
        except OSError:
            counters.drops["receive"] += 1
            return False
        answers: list[bytes | None] = []
        received = 0
        for data, client, port in batch:
            received += len(data)
            if port:
                answers.append(respond(data, client, "udp", clock, unix))
            else:
                counters.drops["source_port"] += 1
                answers.append(None)
        if refused := datagrams.send(answers):
            counters.drops["send"] += refused
        end = monotonic_ns()
        counters.count_batch("udp", received, [len(answer) for answer in answers if answer is not None], end - start)
        count += len(batch)
        more = len(batch) == BATCH
    return more
