"""Which edge serves which client: the order, against a brute-force reading of the rules, and the choice from it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns.policy import Standing, Steering, choose

if TYPE_CHECKING:
    from topology.model import IPNetwork

UP, DRAINING, DOWN = Standing.UP, Standing.DRAINING, Standing.DOWN

SERVES: list[list[IPNetwork]] = [
    [ip_network("10.0.0.0/8")],
    [ip_network("10.1.0.0/16"), ip_network("fd00::/16")],
    [],
    [ip_network("10.1.2.0/24"), ip_network("10.0.0.0/8")],
    [],
    [ip_network("0.0.0.0/0")],
]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("10.1.2.3", (3, 1, 0, 5, 2, 4)),
        ("10.1.3.3", (1, 0, 3, 5, 2, 4)),
        ("10.9.0.1", (0, 3, 5, 2, 4, 1)),
        ("192.0.2.1", (5, 2, 4, 0, 1, 3)),
        ("fd00::1", (1, 2, 4, 0, 3, 5)),
        ("fd99::1", (2, 4, 0, 1, 3, 5)),
    ],
)
def test_order(client: str, expected: tuple[int, ...]) -> None:
    assert Steering(SERVES).order(ip_address(client)) == expected


prefixes = st.builds(
    lambda address, length: ip_network((address >> (32 - length) << (32 - length), length)),
    st.integers(0x0A000000, 0x0A0000FF),
    st.integers(20, 32),
)


@given(st.lists(st.lists(prefixes, max_size=3), max_size=5), st.integers(0x0A000000, 0x0A0000FF))
def test_order_is_that_of_the_rules(serves: list[list[IPNetwork]], number: int) -> None:
    client = IPv4Address(number)

    def rule(edge: int) -> tuple[int, int, int]:
        matches = [prefix.prefixlen for prefix in serves[edge] if client in prefix]
        if matches:
            return (0, -max(matches), edge)
        return (1 if not serves[edge] else 2, 0, edge)

    assert Steering(serves).order(client) == tuple(sorted(range(len(serves)), key=rule))


def test_families_do_not_meet() -> None:
    steering = Steering([[IPv4Network("0.0.0.0/0")], [IPv6Network("::/0")]])
    assert steering.order(ip_address("::1")) == (1, 0)
    assert steering.order(ip_address("0.0.0.1")) == (0, 1)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        ((UP, UP, UP), (2,)),
        ((UP, UP, DOWN), (0,)),
        ((UP, UP, DRAINING), (0,)),
        ((DOWN, UP, DRAINING), (1,)),
        ((DOWN, DRAINING, DOWN), (1,)),
        ((DRAINING, DRAINING, DOWN), (0,)),
        ((DOWN, DOWN, DOWN), (2, 0, 1)),
    ],
)
def test_choice(standings: tuple[Standing, ...], expected: tuple[int, ...]) -> None:
    assert choose((2, 0, 1), lambda edge: standings[edge]) == expected


def test_without_candidates_there_is_no_choice() -> None:
    assert choose((), lambda _: UP) == ()
