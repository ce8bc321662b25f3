"""Both sides of the transfer protocol over a network that loses, delays and reorders."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from braid.transfer import Reason, Steered, TransferAbort, TransferCommit, TransferRefuse, TransferRequest
from content.agent import ProxyAgent
from content.agent import State as ProxyState
from gateway.transfer.agent import ASK_FOR, STEER_FOR, TransferAgent
from gateway.transfer.state import State
from tests.gateway.transfer_world import GATEWAY, NUMBERS, PROXY, World, request

TICK = 0.001


def run(world: World, seconds: float, loss: float, rng: Random) -> None:
    """One millisecond each way; what is sent is lost at random, on the way to an edge and back on both of two paths."""
    for _ in range(round(seconds / TICK)):
        for id_ in list(world.considered):
            if world.plan != "nothing":
                world.decide(id_)
        flying, world.flying = world.flying, []
        for message in flying:
            paths = 2 if message[0] == "edge" or isinstance(message[1], Steered) else 1
            if any(rng.random() >= loss for _ in range(paths)):
                world.flying.insert(0, message)
                world.deliver(0)
        world.advance(TICK)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_transfers_are_served_in_time(loss: float, early: bool) -> None:
    rng, latest, moved = Random(1), 0.0, 0
    for number in range(300):
        world = World(early=early)
        id_ = world.begin(number)
        run(world, 3.0, loss, rng)
        connection = world.connections[id_]
        assert connection.done is not None
        assert not connection.reset
        latest = max(latest, connection.done - connection.began)
        if connection.owner == "proxy":
            moved += 1
            assert (connection.socket, connection.server_ended) == ("live", 1)
        else:
            assert connection.socket == "none"
    # A round trip to the proxy and one to the edge, and the way to the proxy; or both round trips at once.
    assert latest <= (0.15 if loss else 0.004 if early else 0.006)
    assert moved >= 290


@pytest.mark.parametrize(
    ("plan", "why", "within"),
    [("refuse", "content", 0.003), ("mismatch", "mismatch", 0.003), ("nothing", "silent", ASK_FOR + 2 * TICK)],
)
def test_the_origin_serves_what_the_proxy_does_not(plan: str, why: str, within: float) -> None:
    world = World(plan)
    id_ = world.begin(1)
    run(world, 12.0, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.socket) == ("origin", "none")
    assert connection.done is not None
    assert connection.done <= within + 1e-9
    assert world.gateway.counts[f"refused/{why}"] == 1
    assert len(world.gateway) == len(world.proxy) == 0


@pytest.mark.parametrize("early", [True, False])
def test_the_origin_serves_what_changed_before_it_was_held(early: bool) -> None:
    world = World(changed=True, early=early)
    id_ = world.begin(0)
    run(world, 0.05, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.steered, connection.socket) == ("origin", "gateway", "none")
    assert world.gateway.counts["refused/not_quiescent"] == 1
    assert world.gateway.state(id_) is State.ENDED


@pytest.mark.parametrize(("plan", "why"), [("refuse", "content"), ("mismatch", "mismatch"), ("nothing", "silent")])
def test_the_origin_does_not_wait_for_an_edge_that_was_asked_early(plan: str, why: str) -> None:
    world = World(plan, early=True)
    id_ = world.begin(1)
    connection = world.connections[id_]
    while connection.owner == "held":
        run(world, TICK, 0.0, Random(1))
        assert world.now < STEER_FOR
    assert connection.owner == "origin"
    assert connection.done is not None
    assert connection.done <= (ASK_FOR + 2 * TICK if plan == "nothing" else 0.003) + 1e-9
    run(world, 12.0, 0.0, Random(1))
    assert (connection.steered, connection.socket) == ("gateway", "none")
    assert world.gateway.counts[f"refused/{why}"] == 1
    assert len(world.gateway) == len(world.proxy) == 0


def test_an_edge_that_was_asked_early_and_falls_silent_does_not_delay_the_origin() -> None:
    world = World("refuse", "nothing", early=True)
    id_ = world.begin(1)
    run(world, 12.0, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.socket) == ("origin", "none")
    assert connection.done is not None
    assert connection.done <= 0.003 + 1e-9
    assert world.gateway.counts["refused/content"] == 1


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("edge", "why", "within"), [("refuse", "edge_refused", 0.006), ("nothing", "edge_silent", STEER_FOR + 2 * TICK)]
)
def test_the_origin_serves_where_the_edge_does_not_agree(edge: str, why: str, within: float, early: bool) -> None:
    world = World(edge_plan=edge, early=early)
    id_ = world.begin(1)
    run(world, 12.0, 0.0, Random(1))
    connection = world.connections[id_]
    assert (connection.owner, connection.socket, connection.steered) == ("origin", "none", "gateway")
    assert connection.done is not None
    assert connection.done <= within + 1e-9
    assert world.gateway.counts[f"refused/{why}"] == 1
    assert len(world.gateway) == len(world.proxy) == 0


def test_an_edge_that_obeys_late_is_told_to_come_back() -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.0025, 0.0, Random(1))
    late = next(each for each in world.flying if each[0] == "edge")
    world.flying.clear()
    world.advance(STEER_FOR)
    assert world.connections[id_].owner == "origin"
    world.flying.append(late)
    run(world, 0.05, 0.0, Random(1))
    assert world.connections[id_].steered == "gateway"


def test_a_proxy_that_dies_before_it_accepts() -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.5, 1.0, Random(1))
    assert (world.connections[id_].owner, world.connections[id_].socket) == ("origin", "none")


def test_a_late_accept_is_answered_by_an_abort_and_the_socket_goes_in_silence() -> None:
    world = World("nothing")
    id_ = world.begin(1)
    world.deliver(0)
    world.advance(ASK_FOR)
    assert world.connections[id_].owner == "origin"
    world.flying.clear()
    # Accepted in the moment before the deadline was noticed there.
    late = World("accept", proxy=ProxyAgent(), connections=world.connections)
    late.gateway, late.now = world.gateway, world.now
    late.at_proxy(late.proxy.receive(GATEWAY, request(1), late.now))
    late.decide(id_)
    run(late, 0.01, 0.0, Random(1))
    assert late.connections[id_].socket == "none"
    assert late.gateway.counts["late"] == 1


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_an_edge_that_has_started_again_is_told_who_has_a_connection(loss: float) -> None:
    world, rng = World(), Random(1)
    id_ = world.begin(1)
    assert world.gateway.steer_anew(id_, world.now) == [], "it is asked in its turn"
    run(world, 0.1, 0.0, rng)
    assert (world.gateway.state(id_), world.connections[id_].steered) == (State.MOVED, "proxy")
    world.connections[id_].steered = "gateway"
    world.at_gateway(world.gateway.steer_anew(id_, world.now))
    run(world, 0.1, loss, rng)
    assert world.connections[id_].steered == "proxy"
    assert world.gateway.state(id_) is State.MOVED
    world.connections[id_].steered, world.edge_plan = "gateway", "nothing"
    world.at_gateway(world.gateway.steer_anew(id_, world.now))
    run(world, 3.0, 0.0, rng)
    assert world.gateway.next_timeout() > world.now + 1000, "it is not asked for ever"
    world.gateway.receive(PROXY, TransferAbort(id_, Reason.ENDED), world.now)
    assert world.gateway.steer_anew(id_, world.now) == []


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_connection_comes_back(loss: float) -> None:
    rng = Random(2)
    for number in range(50):
        world = World()
        id_ = world.begin(number)
        run(world, 0.3, loss, rng)
        if world.connections[id_].owner == "origin":
            continue
        world.give_back(id_)
        run(world, 1.0, loss, rng)
        connection = world.connections[id_]
        assert (connection.owner, connection.socket) == ("gateway", "none")
        assert world.gateway.counts["returned"] == world.proxy.counts["returned"] == 1


def test_a_proxy_whose_session_is_gone_is_waited_for_no_longer() -> None:
    world = World("nothing")
    asked = world.begin(1)
    world.at_gateway(world.gateway.receive_down(PROXY + 1, world.now))
    assert world.connections[asked].owner == "held"
    world.at_gateway(world.gateway.receive_down(PROXY, world.now))
    assert world.connections[asked].owner == "origin"
    moved = World()
    id_ = moved.begin(2)
    run(moved, 0.1, 0.0, Random(1))
    assert moved.gateway.state(id_) is State.MOVED
    moved.at_gateway(moved.gateway.receive_down(PROXY, moved.now))
    moved.give_back(id_)
    run(moved, 12.0, 0.0, Random(1))
    connection = moved.connections[id_]
    assert (connection.owner, connection.socket) == ("proxy", "live"), "it keeps what is to be decided about"
    assert moved.gateway.state(id_) is State.MOVED


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.001, 0.003])
def test_a_client_that_has_begun_another_connection_gives_the_one_before_up(after: float, early: bool) -> None:
    world = World(early=early, edge_plan="obey" if after < 0.002 else "nothing")
    id_ = world.begin(1)
    run(world, after, 0.0, Random(1))
    assert world.gateway.state(id_) in (State.ASKING, State.STEERING)
    world.at_gateway(world.gateway.make_way(id_, world.now))
    assert world.connections[id_].owner == "origin"
    assert world.gateway.make_way(id_, world.now) == []
    run(world, 12.0, 0.0, Random(1))
    assert (world.connections[id_].steered, world.connections[id_].socket) == ("gateway", "none")
    assert world.gateway.counts["refused/client_reset"] == 1
    assert len(world.gateway) == len(world.proxy) == 0


def test_one_that_the_proxy_has_makes_no_way() -> None:
    world = World()
    id_ = world.begin(1)
    run(world, 0.1, 0.0, Random(1))
    assert world.gateway.make_way(id_, world.now) == []
    assert world.gateway.make_way(b"none", world.now) == []
    assert world.connections[id_].owner == "proxy"


def test_only_the_peer_that_was_asked_counts() -> None:
    agent = TransferAgent()
    agent.begin(PROXY, request(1), 0.0)
    forged = TransferRefuse(request(1).id, Reason.CONTENT)
    assert agent.receive(PROXY + 1, forged, 0.0) == []
    assert agent.state(request(1).id) is State.ASKING
    proxy = ProxyAgent()
    proxy.receive(GATEWAY, request(1), 0.0)
    proxy.accept(request(1).id, NUMBERS, 0.0)
    assert proxy.receive(GATEWAY + 1, TransferCommit(request(1).id), 0.0) == []
    assert proxy.receive(GATEWAY + 1, TransferAbort(request(1).id, Reason.STALE), 0.0) == []
    assert proxy.state(request(1).id) is ProxyState.ACCEPTED
    assert agent.counts["stray"] == 1
    assert proxy.counts["stray"] == 2


def test_an_unknown_commit_is_answered_by_an_abort() -> None:
    (answer,) = ProxyAgent().receive(GATEWAY, TransferCommit(b"x" * 16), 0.0)
    assert answer.message == TransferAbort(b"x" * 16, Reason.STALE)  # type: ignore[union-attr]


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transfer.table.MOST", 1)
    monkeypatch.setattr("content.agent.MOST", 1)
    world = World("nothing")
    world.begin(1)
    assert world.connections[world.begin(2)].owner == "origin"
    proxy = ProxyAgent()
    proxy.receive(GATEWAY, request(1), 0.0)
    (answer,) = proxy.receive(GATEWAY, request(2), 0.0)
    assert answer.message == TransferRefuse(request(2).id, Reason.BUSY)  # type: ignore[union-attr]
    assert isinstance(request(1), TransferRequest)


class TransferMachine(RuleBasedStateMachine):
    """Any order, any loss, any repetition: ``World`` asserts what must never happen."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.count = 0

    @rule(
        plan=st.sampled_from(["accept", "accept", "refuse", "mismatch", "nothing"]),
        early=st.booleans(),
        changed=st.sampled_from([False, False, True]),
    )
    def begin(self, plan: str, early: bool, changed: bool) -> None:
        self.world.plan, self.world.early, self.world.changed = plan, early, changed
        self.count += 1
        self.world.begin(self.count)

    @precondition(lambda self: self.world.flying)
    @rule(data=st.data(), again=st.booleans())
    def deliver(self, data: st.DataObject, again: bool) -> None:
        index = data.draw(st.integers(0, len(self.world.flying) - 1))
        if again:
            self.world.flying.append(self.world.flying[index])
        self.world.deliver(index)

    @precondition(lambda self: self.world.flying)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.world.flying.pop(data.draw(st.integers(0, len(self.world.flying) - 1)))

    @precondition(lambda self: self.world.considered and self.world.plan != "nothing")
    @rule()
    def decide(self) -> None:
        self.world.decide(self.world.considered[0])

    @rule(seconds=st.sampled_from([0.005, 0.02, 0.11, 1.1, 2.5]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(missed=st.booleans())
    def miss_proxy(self, missed: bool) -> None:
        self.world.missed = missed
        self.world.at_gateway(self.world.gateway.receive_down(PROXY, self.world.now))

    @rule()
    def give_back(self) -> None:
        for id_, connection in self.world.connections.items():
            if connection.socket == "live" and self.world.proxy.state(id_) is ProxyState.SERVING:
                self.world.give_back(id_)
                return

    @invariant()
    def nothing_twice(self) -> None:
        for connection in self.world.connections.values():
            assert connection.server_ended <= 1
            assert not (connection.owner == "origin" and connection.socket == "live")

    def teardown(self) -> None:
        """When time passes and the network works, nobody waits and no socket is left that cannot speak."""
        world = self.world
        world.plan = "refuse"
        for _ in range(30):
            for id_ in list(world.considered):
                world.decide(id_)
            while world.flying:
                world.deliver(0)
            world.advance(0.5)
        for connection in world.connections.values():
            assert connection.owner != "held"
            assert connection.socket in ("none", "live")
            if connection.owner == "origin":
                assert connection.socket == "none"
            if connection.owner == "proxy":
                assert connection.socket == "live"
                assert connection.steered == "proxy"


TestTransfer = TransferMachine.TestCase
TestTransfer.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
