"""Server selection: each policy's own promise, rules, stickiness, ejection."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.events import Request
from gateway.proxy.outlier import Outliers
from gateway.proxy.policy.hashing import hash64
from gateway.proxy.policy.make import make_policy
from gateway.proxy.rules import holds, matching
from gateway.proxy.selection import Selection
from tests.gateway.proxy_bench import CLIENT, application
from topology.model import SocketAddress, Target
from topology.proxy import HTTP, ProxySettings, Rule, ServerPolicy


def servers(*weights: int) -> list[Target]:
    return [Target(ip_address(f"10.93.0.{10 + index}"), 80, weight) for index, weight in enumerate(weights)]


class Load:
    def __init__(self, active: dict[Target, int] | None = None, latency: dict[Target, float] | None = None) -> None:
        self._active, self._latency = active or {}, latency or {}

    def active(self, server: Target) -> int:
        return self._active.get(server, 0)

    def latency(self, server: Target) -> float:
        return self._latency.get(server, 0.0)


def picks(policy: ServerPolicy, among: list[Target], count: int, load: Load | None = None) -> Counter[Target]:
    made = make_policy(policy, Random(5))
    return Counter(made.pick(among, load or Load(), hash64(str(number))) for number in range(count))


def test_round_robin_gives_each_its_turn() -> None:
    assert set(picks(ServerPolicy.ROUND_ROBIN, servers(1, 5, 9), 300).values()) == {100}


def test_weighted_is_in_proportion_and_without_bursts() -> None:
    among = servers(5, 1, 1)
    assert list(picks(ServerPolicy.WEIGHTED, among, 700).values()) == [500, 100, 100]
    made = make_policy(ServerPolicy.WEIGHTED, Random(0))
    turn = [among.index(made.pick(among, Load(), 0)) for _ in range(7)]
    assert turn == [0, 0, 1, 0, 2, 0, 0]


def test_least_connections_counts_by_weight() -> None:
    among = servers(1, 2)
    load = Load(active={among[0]: 3, among[1]: 5})
    assert picks(ServerPolicy.LEAST_CONNECTIONS, among, 10, load) == {among[1]: 10}
    assert set(picks(ServerPolicy.LEAST_CONNECTIONS, servers(1, 1), 10).values()) == {5}


def test_p2c_gives_the_slow_server_nothing_when_another_was_drawn() -> None:
    among = servers(1, 1, 1, 1)
    slow = Load(latency=dict.fromkeys(among, 0.001) | {among[0]: 0.5})
    assert picks(ServerPolicy.P2C, among, 1000, slow)[among[0]] == 0
    assert picks(ServerPolicy.P2C, among[:1], 5) == {among[0]: 5}


@pytest.mark.parametrize("policy", [ServerPolicy.RING_HASH, ServerPolicy.MAGLEV])
def test_hashes_keep_keys_and_shares(policy: ServerPolicy) -> None:
    among = servers(1, 1, 1, 2)
    keys = [hash64(f"key {number}") for number in range(5000)]
    before = [make_policy(policy, Random(1)).pick(among, Load(), key) for key in keys[:1]]
    made, again = make_policy(policy, Random(1)), make_policy(policy, Random(2))
    first = [made.pick(among, Load(), key) for key in keys]
    assert first[:1] == before
    assert first == [again.pick(among, Load(), key) for key in keys]
    shares = Counter(first)
    assert shares[among[3]] / len(keys) == pytest.approx(0.4, abs=0.08)
    without = [made.pick(among[1:], Load(), key) for key in keys]
    moved = sum(a is not b for a, b in zip(first, without, strict=True) if a is not among[0])
    assert moved / len(keys) < (0.001 if policy is ServerPolicy.RING_HASH else 0.15)


REQUEST = Request(
    CLIENT,
    sni="a.two.example",
    method="GET",
    host="shop.example",
    path="/api/v1/x",
    headers={"x-a": "1", "cookie": "s=2"},
)
YES = [
    {"methods": ("GET", "POST")},
    {"hosts": ("shop.example",)},
    {"hosts": ("*.example",)},
    {"sni": ("*.two.example",)},
    {"path": "/api/"},
    {"path_regex": r"/api/v\d+/.*"},
    {"headers": (("x-a", "1"), ("cookie", "*"))},
    {"clients": (ip_network("198.51.100.0/24"),)},
    {"regions": ("edge-fra",)},
]
NO = [
    {"methods": ("POST",)},
    {"hosts": ("*.shop.example", "example")},
    {"sni": ("two.example",)},
    {"path": "/apis"},
    {"path_regex": r"/api"},
    {"headers": (("x-a", "2"),)},
    {"headers": (("x-b", "*"),)},
    {"clients": (ip_network("198.51.101.0/24"), ip_network("::/0"))},
    {"regions": ("edge-nyc",)},
]


def test_every_condition_can_hold_and_fail() -> None:
    for conditions in YES:
        assert holds(Rule((), **conditions), REQUEST), conditions  # type: ignore[arg-type]
    for conditions in NO:
        assert not holds(Rule((), **conditions), REQUEST), conditions  # type: ignore[arg-type]
        assert not holds(Rule((), **(YES[0] | conditions)), REQUEST)  # type: ignore[arg-type]
    rules = (Rule((), methods=("PUT",)), Rule((), path="/"), Rule(()))
    assert matching(rules, REQUEST) == 1
    assert matching(rules[:1], REQUEST) is None


def selection(*targets: Target, **settings: object) -> Selection:
    made = ProxySettings(HTTP, **settings)  # type: ignore[arg-type]
    return Selection(application(targets, made), made, Random(3))


def test_a_client_keeps_its_server_by_address_and_others_keep_theirs_when_one_goes() -> None:
    among = servers(1, 1, 1)
    chooser = selection(*among, sticky="client")
    clients = [replace(CLIENT, client=SocketAddress(ip_address(0x0A000000 + number), 1)) for number in range(300)]

    def chosen(gone: Target | None) -> list[Target]:
        found = [chooser.choose(Request(each), (), None, lambda each: each is not gone, 0.0) for each in clients]
        return [each.target for each in found if each is not None]

    before, after = chosen(None), chosen(among[0])
    assert chosen(None) == before
    assert min(Counter(before).values()) > 60
    assert [a for a, b in zip(after, before, strict=True) if b is not among[0]] == [
        b for b in before if b is not among[0]
    ]


def test_servers_of_the_clients_family_are_preferred_and_tried_ones_are_not_taken_again() -> None:
    four, six = servers(1)[0], Target(ip_address("fd93::10"), 80, 1)
    chooser = selection(six, four)
    found = chooser.choose(Request(CLIENT), (), None, lambda _each: True, 0.0)
    assert found is not None
    assert found.target is four
    assert chooser.choose(Request(CLIENT), (four,), None, lambda _each: True, 0.0) is None


def test_an_outlier_is_out_for_a_while_and_longer_the_next_time() -> None:
    (server,) = servers(1)
    table = Outliers()
    fails = [table.receive(server, False, 3, 10.0, now) for now in (0, 1, 2)]
    assert fails == [False, False, True]
    assert table.ejected(server, 11.9)
    assert not table.ejected(server, 12.0)
    for now in (20, 21, 22):
        table.receive(server, False, 3, 10.0, now)
    assert table.ejected(server, 41.9)
    assert not table.ejected(server, 42.0)
    assert not any(Outliers().receive(server, False, 0, 10.0, now) for now in range(50))


@given(st.sampled_from(ServerPolicy), st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(0, 2**64 - 1))
def test_every_policy_picks_one_of_the_servers(policy: ServerPolicy, weights: list[int], key: int) -> None:
    among = servers(*weights)
    assert make_policy(policy, Random(0)).pick(among, Load(), key) in among
