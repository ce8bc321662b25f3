"""Mutated packets through all of answering; ``python -m bench.dns --fuzz 200000`` does more of it."""

from __future__ import annotations

import pytest

from bench.dns.fuzz import fuzz
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
