"""Clients by address, against a brute-force reading of the rules; and that scopes never overlap."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dns.cells import ClientMap

if TYPE_CHECKING:
    from topology.model import IPNetwork

SERVES: list[list[IPNetwork]] = [
    [ip_network("10.0.0.0/8")],
    [ip_network("10.1.0.0/16"), ip_network("fd00::/16")],
    [],
    [ip_network("10.1.2.0/24"), ip_network("10.0.0.0/8")],
    [],
    [ip_network("0.0.0.0/0")],
]


@pytest.mark.parametrize(
    ("client", "serving", "others", "scope"),
    [
        ("10.1.2.3", ((3,), (1,), (0,), (5,), (2, 4)), (), 24),
        ("10.1.3.3", ((1,), (0, 3), (5,), (2, 4)), (), 24),
        ("10.1.4.3", ((1,), (0, 3), (5,), (2, 4)), (), 22),
        ("10.9.0.1", ((0, 3), (5,), (2, 4)), (1,), 13),
        ("192.0.2.1", ((5,), (2, 4)), (0, 1, 3), 1),
        ("fd00::1", ((1,), (2, 4)), (0, 3, 5), 16),
        ("fd99::1", ((2, 4),), (0, 1, 3, 5), 9),
    ],
)
def test_cells(client: str, serving: tuple[tuple[int, ...], ...], others: tuple[int, ...], scope: int) -> None:
    address = ip_address(client)
    cell, found = ClientMap(SERVES).find(address.version, int(address))
    assert (cell.serving, cell.others, found) == (serving, others, scope)


def test_without_prefixes_there_is_one_cell_for_all() -> None:
    clients = ClientMap([[], []])
    for client in ("0.0.0.0", "255.255.255.255", "::", "ffff::"):
        address = ip_address(client)
        cell, scope = clients.find(address.version, int(address))
        assert (cell.order, scope) == ((0, 1), 0)


def test_families_do_not_meet() -> None:
    clients = ClientMap([[IPv4Network("0.0.0.0/0")], [IPv6Network("::/0")]])
    assert clients.find(6, 1)[0].serving == ((1,),)
    assert clients.find(4, 1)[0].serving == ((0,),)


BASE = 0x0A000000
prefixes = st.builds(
    lambda address, length: ip_network((address >> (32 - length) << (32 - length), length)),
    st.integers(BASE, BASE + 255),
    st.integers(20, 32),
)
serves = st.lists(st.lists(prefixes, max_size=3), max_size=5)


def rule(prefixes_of: list[list[IPNetwork]], edge: int, number: int) -> tuple[int, int]:
    matches = [prefix.prefixlen for prefix in prefixes_of[edge] if ip_address(number) in prefix]
    if matches:
        return (0, -max(matches))
    return (2, 0) if prefixes_of[edge] else (1, 0)


@given(serves, st.integers(BASE, BASE + 255))
def test_groups_are_those_of_the_rules(prefixes_of: list[list[IPNetwork]], number: int) -> None:
    cell, _ = ClientMap(prefixes_of).find(4, number)
    ranks = [rule(prefixes_of, edge, number) for edge in range(len(prefixes_of))]
    expected = [tuple(e for e, rank in enumerate(ranks) if rank == each) for each in sorted(set(ranks))]
    last = (2, 0) in ranks
    assert [*cell.serving, *([cell.others] if last else [])] == expected
    assert sorted(cell.order) == list(range(len(prefixes_of)))


@settings(max_examples=30)
@given(serves)
def test_all_clients_in_a_scope_have_one_cell_and_scopes_are_disjoint_and_as_wide_as_can_be(
    prefixes_of: list[list[IPNetwork]],
) -> None:
    clients = ClientMap(prefixes_of)
    cells = {number: clients.find(4, number) for number in range(BASE, BASE + 256)}
    for number, (cell, scope) in cells.items():
        inside = ip_network((number >> (32 - scope) << (32 - scope), scope)) if scope else ip_network("0.0.0.0/0")
        for other, (their_cell, their_scope) in cells.items():
            if ip_address(other) in inside:
                assert (their_cell, their_scope) == (cell, scope)
        if scope > 24:
            wider = inside.supernet()
            assert {id(cells[n][0]) for n in cells if ip_address(n) in wider} != {id(cell)}


def test_ten_thousand_prefixes() -> None:
    rng = random.Random(5)
    prefixes_of: list[list[IPNetwork]] = [[] for _ in range(20)]
    for _ in range(10_000):
        length = rng.choice([16, 20, 22, 24])
        network = ip_network((rng.getrandbits(32) >> (32 - length) << (32 - length), length))
        prefixes_of[rng.randrange(20)].append(network)
    clients = ClientMap(prefixes_of)
    by_start: dict[tuple[int, int], set[int]] = {}
    for edge, own in enumerate(prefixes_of):
        for prefix in own:
            by_start.setdefault((prefix.prefixlen, int(prefix.network_address)), set()).add(edge)
    for _ in range(2000):
        number = rng.getrandbits(32)
        best = next(
            (by_start[key] for n in (24, 22, 20, 16) if (key := (n, number >> (32 - n) << (32 - n))) in by_start), None
        )
        cell, scope = clients.find(4, number)
        assert cell.serving == () if best is None else set(cell.serving[0]) == best
        assert scope <= 24
