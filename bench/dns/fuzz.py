"""Mutated packets through the whole of answering, UDP and TCP, in memory: nothing may be raised, nothing may last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

from bench.dns.mutate import mutated, sound_queries
from dns.tcp import TcpService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.answer import Responder

_CLIENT = bytes([192, 0, 2, 1])
_UNIX = 1_800_000_000


@dataclass(slots=True)
class Outcome:
    packets: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """rcode as a number, or "none"; for TCP "kept" or "closed"."""
    worst: float = 0.0
    """Seconds of processor time for one packet."""
    seconds: float = 0.0


def fuzz(responder: Responder, names: Sequence[str], packets: int, seed: int) -> Outcome:
    """Half of them over UDP, half as a TCP stream of one message each. What answering raises is raised."""
    rng, sound, outcome = Random(seed), sound_queries(names), Outcome()
    tcp = TcpService(responder)
    began = perf_counter()
    for number in range(packets):
        data = mutated(rng, sound)
        start = thread_time()
        if number % 2:
            length = len(data) if rng.random() < 0.9 else rng.randrange(65536)
            answers, sane = tcp.turn(bytearray(length.to_bytes(2, "big") + data), _CLIENT, False)
            found = "tcp kept" if sane else "tcp closed"
            answer = answers[2:] or None
        else:
            answer = responder.respond(data, _CLIENT, "udp", number / 1000, _UNIX)
            found = "udp none" if answer is None else f"udp rcode {answer[3] & 15}"
        outcome.worst = max(outcome.worst, thread_time() - start)
        outcome.outcomes[found] += 1
        if answer is not None and (answer[:2] != data[:2] or not answer[2] & 0x80):
            raise AssertionError(f"packet {number} of seed {seed}: the answer is none to {data.hex()}")
    outcome.packets, outcome.seconds = packets, perf_counter() - began
    return outcome
