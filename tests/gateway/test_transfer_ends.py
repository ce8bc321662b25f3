"""Transferred connections that end at their proxy: the gateway hears of it."""

from __future__ import annotations

from random import Random

import pytest

from braid.transfer import Reason, Send, TransferAbort
from gateway.transfer.agent import TransferAgent
from gateway.transfer.state import State
from tests.gateway.test_transfer_simulation import TICK, run
from tests.gateway.transfer_world import PROXY, World, request


def test_a_connection_that_ends_before_the_gateway_knows_of_it() -> None:
    world = World()
    id_ = world.begin(1)
    while world.connections[id_].socket != "live":
        run(world, TICK, 0.0, Random(1))
    world.flying.clear()
    world.proxy.end(id_, world.now)
    run(world, 0.03, 0.0, Random(1))
    assert world.connections[id_].server_ended == 1
    assert world.gateway.state(id_) is State.MOVED, "the end was lost"
    run(world, 0.02, 0.0, Random(1))
    assert world.gateway.state(id_) is State.ENDED, "and is said again"
    run(world, 12.0, 0.0, Random(1))
    assert len(world.gateway) == len(world.proxy) == 0


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_gateway_hears_of_every_end_and_the_proxy_forgets_it(loss: float) -> None:
    """Should the proxy be gone it would look for clients that left long ago."""
    rng = Random(4)
    for number in range(40):
        world = World()
        id_ = world.begin(number)
        run(world, 0.5, loss / 3, rng)
        if world.connections[id_].owner != "proxy":
            continue
        world.at_proxy(world.proxy.end(id_, world.now))
        run(world, 3.0, loss, rng)
        assert world.gateway.state(id_) is State.ENDED
        world.flying.clear()
        said = len(world.proxy.handle_timeout(world.now + 1.0))
        assert said == 0 or loss, "it has heard that it was heard"
        assert world.gateway.receive_down(PROXY, world.now) == []
        run(world, 11.0, 0.0, rng)
        assert len(world.gateway) == len(world.proxy) == 0


def test_an_end_is_not_told_for_ever_to_a_gateway_that_is_gone() -> None:
    world, told = World(), 0
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    world.proxy.end(id_, world.now)
    while len(world.proxy):
        world.now = max(world.now, world.proxy.next_timeout())
        told += len(world.proxy.handle_timeout(world.now))
    assert 5 < told < 20
    unknown = TransferAbort(request(9).id, Reason.ENDED)
    assert TransferAgent().receive(PROXY, unknown, 0.0) == [Send(PROXY, unknown)], "one that has started again answers"
