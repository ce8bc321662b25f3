"""Mutated packets through all of answering; ``python -m bench.dns fuzz`` does more of it."""

from __future__ import annotations

import socket
from random import Random

import pytest

from bench.dns.fuzz import fuzz
from bench.dns.mutate import mutated, query, question, sound_queries
from tests.dns.served import HOSTS, TRANSPORTS, everything, exchange, served
from tests.dns.zone import make_full_view, responder

NAMES = ["shop.apps.example", "x.wild.apps.example", "nosuch.apps.example"]


@pytest.mark.parametrize("per_second", [0, 200])
def test_ten_thousand_mutated_packets_raise_nothing_and_block_nobody(per_second: int) -> None:
    outcome = fuzz(responder(make_full_view(), per_second=per_second), NAMES, 10_000, seed=20260301 + per_second)
    assert outcome.packets == sum(outcome.outcomes.values()) == 10_000
    assert outcome.outcomes["udp rcode 1"] > 300
    assert outcome.outcomes["udp rcode 0"] > 30
    assert outcome.outcomes["tcp kept"] > 500
    assert outcome.worst < 0.1, "seconds of processor time; about 0.0002 on an idle machine"


@pytest.mark.parametrize("host", HOSTS)
def test_mutated_packets_on_sockets(host: str) -> None:
    """A bug in the service would end it, and its thread with it."""
    rng, sound, asked = Random(15), sound_queries(NAMES), query(question(NAMES[0]))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with served(everything(), (host,)) as (port, service), socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.connect((host, port))
        for _ in range(1000):
            asker.send(mutated(rng, sound))
            exchange(host, port, mutated(rng, sound), "tcp")
        for transport in TRANSPORTS:
            assert exchange(host, port, asked, transport) is not None
        counters = service.counters
        assert counters.answered + counters.drops.total() + counters.closed["unsound"] >= 2002
