"""Connections that a proxy has, or may have, when its gateway misses it: both sides of the protocol, and an edge."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from braid.transfer import How, Steered, Terminate
from content.agent import ProxyAgent
from gateway.transfer.agent import TransferAgent
from gateway.transfer.commands import AskEdge, GoOn, Lost
from gateway.transfer.state import SLOWEST_CLAIM, State
from gateway.transfer.table import MOST_RESCUED
from tests.gateway.test_transfer_simulation import TICK, run
from tests.gateway.transfer_world import PROXY, World, request


def test_a_proxy_that_falls_silent_after_it_accepted_is_told() -> None:
    world = World()
    id_ = world.begin(1)
    while world.connections[id_].owner != "proxy":
        run(world, TICK, 0.0, Random(1))
    world.proxy = ProxyAgent()
    world.flying.clear()
    run(world, 0.05, 0.0, Random(1))
    assert (world.connections[id_].owner, world.connections[id_].steered) == ("successor", "gateway")
    assert world.gateway.counts["proxy_gone"] == 1


@pytest.mark.parametrize("missed", [False, True])
def test_a_connection_goes_on_without_its_proxy_if_the_edge_misses_it_too(missed: bool) -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    world.at_gateway(world.gateway.receive_down(PROXY, world.now))
    run(world, 0.5, 0.0, Random(1))
    assert world.connections[id_].owner == "rescuing", "the edge may notice a moment later"
    world.missed = missed
    run(world, 2.0, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.steered) == (("successor", "gateway") if missed else ("proxy", "proxy"))
    assert world.gateway.counts.get("proxy_gone", 0) == int(missed)
    run(world, 12.0, 0.0, Random(1))
    assert world.gateway.state(id_) is (None if missed else State.MOVED)


def test_a_connection_that_only_the_edge_misses_goes_on_and_the_proxy_drops_it() -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    world.missed = True
    world.at_gateway(world.gateway.miss(id_, world.now))
    run(world, 0.01, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.steered, connection.socket) == ("successor", "gateway", "none")
    assert world.gateway.miss(id_, world.now) == []
    assert (world.gateway.counts["proxy_gone"], world.proxy.counts["followed"]) == (1, 1)
    run(world, 12.0, 0.0, Random(1))
    assert len(world.gateway) == len(world.proxy) == 0


@pytest.mark.parametrize("ends", [False, True])
def test_what_a_proxy_kept_that_its_gateway_missed_goes_on_if_it_dies_later(ends: bool) -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    world.at_gateway(world.gateway.receive_down(PROXY, world.now))

    def cut_off(seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            world.flying = [each for each in world.flying if each[0] == "edge" or isinstance(each[1], Steered)]
            run(world, TICK, 0.0, Random(1))

    cut_off(3.0)
    assert (world.connections[id_].owner, world.gateway.state(id_)) == ("proxy", State.MOVED)
    if ends:
        world.proxy.end(id_, world.now)
        # Longer than the proxy says so.
        cut_off(12.0)
        run(world, SLOWEST_CLAIM, 0.0, Random(1))
        assert world.gateway.state(id_) in (State.ENDED, None)
        return
    world.missed = True
    world.at_gateway(world.gateway.miss(id_, world.now))
    cut_off(0.01)
    assert (world.connections[id_].owner, world.connections[id_].steered) == ("successor", "gateway")


@pytest.mark.parametrize("began", [False, True])
def test_a_proxy_that_only_the_gateway_misses_keeps_what_it_began_and_nothing_else(began: bool) -> None:
    """The link between the two breaks while COMMIT, or the word that it came, is on its way."""
    world = World()
    id_ = world.begin(1)
    while world.connections[id_].owner != "proxy":
        run(world, TICK, 0.0, Random(1))
    if began:
        while world.connections[id_].socket != "live":
            run(world, TICK, 0.0, Random(1))
    world.flying = [each for each in world.flying if each[0] == "edge"]

    def cut_off(seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            run(world, TICK, 0.0, Random(1))
            world.flying = [each for each in world.flying if each[0] == "edge" or isinstance(each[1], Steered)]

    cut_off(1.0)
    world.at_gateway(world.gateway.receive_down(PROXY, world.now))
    cut_off(4.0)
    connection = world.connections[id_]
    owner, steered, socket = ("proxy", "proxy", "live") if began else ("successor", "gateway", "none")
    assert (connection.owner, connection.steered, connection.socket) == (owner, steered, socket)


def test_it_is_lost_where_the_edge_is_silent_too() -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    world.edge_plan = "nothing"
    world.at_gateway(world.gateway.receive_down(PROXY, world.now))
    run(world, 3.0, 0.0, Random(1))
    assert world.connections[id_].reset
    assert world.gateway.counts["lost"] == 1


def test_of_many_connections_of_a_proxy_that_is_gone_the_edge_is_asked_in_turn() -> None:
    agent, now, many = TransferAgent(), 1.0, 4 * MOST_RESCUED + 7
    for number in range(many):
        for each in agent.adopt(PROXY, request(number), True, 0.0):
            if isinstance(each, AskEdge):
                agent.receive_steered(Steered(each.id, each.order, True), 0.0)
        agent.receive(PROXY, Terminate(request(number).id, How.FIN, 1), 0.0)
    told = agent.receive_down(PROXY, now)
    waits: list[AskEdge] = []
    asked: Counter[bytes] = Counter()
    gone_on = 0
    while gone_on < many:
        new = [each for each in told if isinstance(each, AskEdge)]
        asked.update(each.id for each in new)
        waits += new
        assert sum(agent.state(id_) is State.RESCUING for id_ in asked) <= MOST_RESCUED
        # An edge, or the way to it, that takes some time.
        answered, waits = waits[:40], waits[40:]
        told = []
        for each in answered:
            told += agent.receive_steered(Steered(each.id, each.order, True), now)
        told += agent.handle_timeout(now)
        now += 0.01
        gone_on += sum(isinstance(each, GoOn) for each in told)
        assert not any(isinstance(each, Lost) for each in told)
    assert set(asked) == {request(number).id for number in range(many)}
    assert asked.total() < 6 * many
    assert now < 8.0
    assert agent.open[PROXY] == 0
