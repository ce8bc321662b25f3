"""What the two gateways of a drain do at each step, and that somebody answers for the pools and serves at each."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from braid.app_numbers import AppNumbers
from braid.desired import SiblingChoice
from braid.drained import Order, orders_file, write_order
from braid.moves import Phase
from gateway.drain.service import DrainService
from gateway.drain.state import AT_HOME, LEAVES, PHASES, State, of_host, of_lender
from gateway.nat import captured, gateway_policy, with_siblings
from tests.gateway.moved import Moved
from topology.graph import neighbours, siblings
from topology.source import load

if TYPE_CHECKING:
    from topology.model import IPNetwork

TOPOLOGY = load(Path("topology/examples/two-gateways.yaml"))
A, B = "gw-1-1", "gw-1-2"
POOLS = (ip_network("203.0.113.128/30"),)
WAY = (State.COPYING, State.LEAVING, State.FOLLOWING, State.AWAY, State.RETURNING, State.RETURNED, State.HOME)


def test_gateways_of_a_region_are_neighbours_and_peers_and_others_are_not() -> None:
    assert siblings(TOPOLOGY, A) == (B,)
    assert siblings(TOPOLOGY, "gw-2-1") == siblings(TOPOLOGY, "edge-1") == ()
    assert B in {node.name for node in neighbours(TOPOLOGY, A)}
    assert with_siblings(TOPOLOGY, A)[B] == {1}
    policy = gateway_policy(TOPOLOGY, A, AppNumbers(), lambda _key: True)
    assert (policy.siblings, policy.sibling, policy.moving, policy.guests) == (
        (TOPOLOGY.nodes[B].number,),
        None,
        False,
        (),
    )


@pytest.mark.parametrize("step", range(len(WAY) - 1))
def test_whoever_takes_over_is_first(step: int) -> None:
    """Each change is made by one side and then by the other, so both orders are met; in each of them the pools are
    answered for, and who begins nothing has a sibling that does."""
    before, after = WAY[step], WAY[step + 1]
    here_first = after in (State.COPYING, State.LEAVING, State.RETURNED)
    middle = (after, before) if here_first else (before, after)
    for lender_state, host_state in ((before, before), middle, (after, after)):
        lender = of_lender(lender_state, 32)
        host = of_host(PHASES[host_state], 31, asks=False, pools=POOLS)
        assert not lender.lent or host.holds, (lender_state, host_state)
        assert lender_state not in LEAVES or (
            lender.sibling == SiblingChoice(32, leaving=True) and host.guests == POOLS
        )
        assert host.sibling is None or not host.sibling.leaving


def test_the_host_asks_the_lender_as_long_as_that_has_something() -> None:
    assert of_host(Phase.AWAY, 31, asks=True, pools=POOLS).sibling == SiblingChoice(31, leaving=False)
    assert of_host(Phase.AWAY, 31, asks=False, pools=POOLS) == replace(AT_HOME, guests=POOLS, holds=True)
    assert of_host(Phase.ENDED, 31, asks=True, pools=POOLS) == AT_HOME


async def lodge(_pools: tuple[IPNetwork, ...]) -> None:
    raise AssertionError("it does not run")


def test_a_gateway_that_was_drained_does_not_answer_for_its_pools_when_it_starts(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    own = captured(TOPOLOGY, A)
    for order, answers in ((None, own), (Order(B), ()), (Order(B, back=True), ()), (Order("nobody"), own)):
        write_order(orders_file(file), A, order)
        drain = DrainService(lambda _topology, _node: (), lodge, lambda _pools, *, guests: None, Moved(), dict)
        drain.remember(file, TOPOLOGY, A)
        assert drain.captured(TOPOLOGY, own) == answers
        standing = drain.standing(TOPOLOGY)
        begins_here = standing.sibling is None or not standing.sibling.leaving
        assert begins_here == bool(answers), "and begins nothing"


@pytest.mark.parametrize(("name", "sibling"), [(A, B), ("gw-2-1", None)])
def test_what_a_gateway_that_has_just_started_does_not_know_its_only_sibling_may(
    tmp_path: Path, name: str, sibling: str | None
) -> None:
    """It may have been told all of that one's flows a moment ago, and its clients go on talking to it."""
    drain = DrainService(lambda _topology, _node: (), lodge, lambda _pools, *, guests: None, Moved(), dict)
    drain.remember(tmp_path / "topology.yaml", TOPOLOGY, name)
    choice = SiblingChoice(TOPOLOGY.nodes[sibling].number, leaving=False) if sibling else None
    assert drain.standing(TOPOLOGY) == replace(AT_HOME, sibling=choice)
