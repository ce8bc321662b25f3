"""The choice of an edge: against a brute-force reading of the rules, and that clients stay where they are."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns.cells import ClientMap
from dns.config import DnsConfig, Edge
from dns.policy import Standing, prefer, rank, sticky_prefix
from dns.view import Reason, make_view
from tests.dns.zone import CONFIG

if TYPE_CHECKING:
    from topology.model import IPNetwork

UP, HOLDING, DEGRADED, FULL, DRAINING, DOWN = Standing
NAMES = ["edge-a", "edge-b", "edge-c", "edge-d"]


@pytest.mark.parametrize(
    ("standings", "best"),
    [
        # Groups of the client: 0 and 1 serve it alike, 2 serves everybody, 3 is meant for others.
        ((UP, UP, UP, UP), (0, 1)),
        ((DOWN, UP, UP, UP), (1,)),
        ((HOLDING, UP, UP, UP), (1,)),
        ((HOLDING, HOLDING, UP, UP), (2,)),
        ((DEGRADED, HOLDING, DOWN, UP), (1,)),
        ((DEGRADED, FULL, DOWN, UP), (0,)),
        ((DEGRADED, DEGRADED, DEGRADED, UP), (0, 1)),
        ((FULL, FULL, FULL, UP), (0, 1)),
        ((DOWN, DRAINING, DOWN, UP), (3,)),
        ((DOWN, DRAINING, DOWN, DEGRADED), (3,)),
        ((DOWN, DRAINING, DOWN, DRAINING), (1,)),
        ((DOWN, DOWN, DOWN, DRAINING), (3,)),
        ((DOWN, DOWN, DOWN, DOWN), ()),
        ((None, DOWN, None, UP), (3,)),
        ((None, None, None, None), ()),
    ],
)
def test_choice(standings: tuple[Standing | None, ...], best: tuple[int, ...]) -> None:
    net, elsewhere = ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24")
    cell, _ = ClientMap([[net], [net], [], [elsewhere]]).find(4, 10 << 24)
    assert rank(cell, lambda edge: standings[edge]).best == best


def test_all_down_are_in_the_order_of_the_groups() -> None:
    net = ip_network("10.0.0.0/8")
    cell, _ = ClientMap([[], [ip_network("192.0.2.0/24")], [net], []]).find(4, 10 << 24)
    assert [each.edge for each in rank(cell, lambda _: DOWN).candidates] == [2, 0, 3, 1]


BASE = 0x0A000000
prefixes = st.builds(
    lambda address, length: ip_network((address >> (32 - length) << (32 - length), length)),
    st.integers(BASE, BASE + 255),
    st.integers(24, 32),
)
edge_lists = st.lists(st.lists(prefixes, max_size=2), min_size=1, max_size=4)
standing_lists = st.lists(st.sampled_from([*Standing, None]), min_size=4, max_size=4)


def oracle(serves: list[list[IPNetwork]], standings: list[Standing | None], number: int) -> set[int]:
    """The best edges by the rules of ``dns.policy``, tried one after the other in plain words."""
    client = ip_address(number)
    lengths = {e: max((p.prefixlen for p in own if client in p), default=-1) for e, own in enumerate(serves)}
    having = [e for e in lengths if standings[e] is not None]
    meant = [e for e in having if lengths[e] >= 0 or not serves[e]]
    others = [e for e in having if e not in meant]
    for group in (meant, others):
        for wanted in (UP, HOLDING, DEGRADED, FULL):
            able = [e for e in group if standings[e] is wanted]
            if able:
                longest = max(lengths[e] for e in able)
                return {e for e in able if lengths[e] == longest}
    for group in (meant, others):
        able = [e for e in group if standings[e] is DRAINING]
        if able:
            longest = max(lengths[e] for e in able)
            return {e for e in able if lengths[e] == longest}
    return set()


@given(edge_lists, standing_lists, st.integers(BASE, BASE + 255))
def test_the_best_are_those_of_the_rules(
    serves: list[list[IPNetwork]], standings: list[Standing | None], number: int
) -> None:
    cell, _ = ClientMap(serves).find(4, number)
    assert set(rank(cell, lambda edge: standings[edge]).best) == oracle(serves, standings, number)


def shares(equals: tuple[int, ...], weights: list[int], clients: int = 20_000) -> dict[int, int]:
    return {c: prefer(equals, NAMES, weights, 4, c) for c in range(clients)}


def test_equals_get_equal_shares_and_a_new_one_takes_only_its_own() -> None:
    before, after = shares((0, 1, 2), [1] * 4), shares((0, 1, 2, 3), [1] * 4)
    assert all(abs(n / 20_000 - 1 / 3) < 0.02 for n in Counter(before.values()).values())
    moved = [client for client in before if before[client] != after[client]]
    assert {after[client] for client in moved} == {3}
    assert abs(len(moved) / 20_000 - 0.25) < 0.02


def test_one_that_goes_moves_only_its_own_clients() -> None:
    before, after = shares((0, 1, 2), [1] * 4), shares((0, 2), [1] * 4)
    assert all(after[client] == edge for client, edge in before.items() if edge != 1)


def test_weights() -> None:
    counts = Counter(shares((0, 1, 2), [1, 2, 5, 1]).values())
    assert all(abs(counts[edge] / 20_000 - share) < 0.02 for edge, share in ((0, 1 / 8), (1, 2 / 8), (2, 5 / 8)))


def test_the_choice_is_by_prefix_and_names_alone() -> None:
    assert sticky_prefix(4, 0x0A010203) == sticky_prefix(4, 0x0A0102FF) != sticky_prefix(4, 0x0A010303)
    six = [int(ip_address(text)) for text in ("2001:db8:0:100::", "2001:db8:0:1ff::9", "2001:db8:0:200::")]
    assert sticky_prefix(6, six[0]) == sticky_prefix(6, six[1]) != sticky_prefix(6, six[2])
    renamed = [NAMES[2], NAMES[0], NAMES[1], NAMES[3]]
    for client in range(0, 1 << 16, 257):
        chosen = prefer((0, 1, 2), NAMES, [1] * 4, 4, client)
        assert renamed[prefer((0, 1, 2), renamed, [1] * 4, 4, client)] == NAMES[chosen]
    assert [prefer((0, 1, 2), NAMES, [1] * 4, 4, c) for c in range(12)] == [0, 0, 1, 2, 2, 2, 0, 0, 2, 1, 2, 2]


def steering_config(rng: random.Random) -> DnsConfig:
    def net() -> IPNetwork:
        length = rng.choice([8, 12, 16, 20, 24])
        return ip_network((rng.getrandbits(32) >> (32 - length) << (32 - length), length))

    edges = tuple(
        Edge(f"edge-{n}", n, tuple({net() for _ in range(rng.choice([0, 3, 30]))}), rng.randint(1, 3)) for n in range(8)
    )
    vips = {(n, "shop"): (ip_address(f"10.9.0.{n + 1}"),) for n in range(8)}
    return replace(CONFIG, edges=edges, vips=vips, hosts={"shop.apps.example": "shop"})


@pytest.mark.parametrize("seed", range(4))
def test_decisions_of_random_clients_and_that_a_scope_has_one_answer(seed: int) -> None:
    rng = random.Random(seed)
    config = steering_config(rng)
    standings = {pair: rng.choice(list(Standing)) for pair in config.vips}
    view = make_view(config, standings)
    serves = [list(edge.serves) for edge in config.edges]
    known = [standings[edge, "shop"] for edge in range(8)]
    scopes: dict[tuple[int, int], tuple[int, ...]] = {}
    for _ in range(2500):
        number = rng.getrandbits(32)
        decision = view.decide(4, number, "shop")
        best = oracle(serves, list(known), number)
        assert set(decision.ranking.best) == best
        if best:
            (edge,) = decision.edges
            assert edge in best
            assert (decision.reason is Reason.BEST) == (len(best) == 1)
            assert decision.scope >= 24 or len(best) == 1
        cell = number >> (32 - decision.scope) if decision.scope else 0
        assert scopes.setdefault((decision.scope, cell), decision.edges) == decision.edges
        last = number | (1 << (32 - decision.scope)) - 1
        assert view.decide(4, last, "shop")[:2] == decision[:2]
    for length, cell in scopes:
        assert not any((shorter, cell >> (length - shorter)) in scopes for shorter in range(1, length))


def test_fallbacks() -> None:
    down = dict.fromkeys(CONFIG.vips, DOWN)
    decision = make_view(CONFIG, down).decide(4, 1, "shop")
    assert (decision.edges, decision.reason) == ((2, 0, 1), Reason.FAIL_OPEN)
    closed = replace(CONFIG, fail_closed=frozenset({"shop"}))
    decision = make_view(closed, down).decide(4, 1, "shop")
    assert (decision.edges, decision.reason) == ((), Reason.FAIL_CLOSED)


def test_trouble_is_that_of_an_application() -> None:
    standings = dict.fromkeys(CONFIG.vips, UP) | {(0, "shop"): HOLDING}
    assert make_view(CONFIG, standings).troubled == {"shop"}
