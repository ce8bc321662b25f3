from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from braid import session
from braid.events import Down, Established, Initiation, Rekey, Up
from braid.session import (
    Accept,
    Close,
    Initiate,
    Log,
    Refuse,
    Relation,
    Restarted,
    SessionManager,
    Standing,
    State,
    Trigger,
)
from tests.braid.session_network import Network

NEAR = Relation(21, True)
FAR = Relation(31, False)


def manager(*relations: Relation, now: float = 0.0) -> SessionManager:
    made = SessionManager(Random(7))
    made.set_peers({relation: Standing() for relation in relations}, now)
    return made


def initiations(made: SessionManager, until: float, step: float = 0.01) -> list[float]:
    """Times at which ``made`` initiates when nobody ever answers."""
    times = []
    for turn in range(int(until / step) + 1):
        now = turn * step
        due = made.next_timeout()
        if due is not None and due <= now:
            times += [now for command in made.handle_timeout(now) if isinstance(command, Initiate)]
    return times


def test_every_state_has_an_answer_to_every_trigger() -> None:
    assert set(session.TRANSITIONS) == set(itertools.product(State, Trigger))


def test_the_first_initiation_goes_out_at_once_and_the_next_ones_back_off() -> None:
    times = initiations(manager(NEAR), until=60)
    assert times[0] <= session.FIRST_JITTER + 0.01
    gaps = [after - before for before, after in itertools.pairwise(times)]
    for gap, expected in zip(gaps, session.BACKOFF, strict=False):
        assert expected * 0.8 - 0.011 <= gap <= expected * 1.2 + 0.011
    assert all(3.9 <= gap <= 6.1 for gap in gaps[4:])


def test_peers_are_not_all_tried_in_the_same_instant() -> None:
    made = manager(*(Relation(number, True) for number in range(1, 40)))
    dues = set()
    now = 0.0
    while now <= 0.06:
        if made.handle_timeout(now):
            dues.add(now)
        now += 0.001
    assert len(dues) > 10


def test_a_peer_that_was_up_recently_is_tried_every_second() -> None:
    made = manager(NEAR)
    made.receive(Established(21, True, 1, True, 7), 0.0)
    made.receive(Down(21, True), 0.0)
    times = initiations(made, until=50)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) <= 1.22
    assert len(times) >= 40


def test_the_initiator_renews_at_about_two_minutes_and_the_responder_waits_longer() -> None:
    for seed in range(20):
        mine, theirs = SessionManager(Random(seed)), SessionManager(Random(seed + 100))
        for made, initiator in ((mine, True), (theirs, False)):
            made.set_peers({NEAR: Standing()}, 0.0)
            made.receive(Established(21, True, 1, initiator, 7), 0.0)
        due, fallback = mine.next_timeout(), theirs.next_timeout()
        assert due is not None
        assert fallback is not None
        assert 108 <= due <= 132
        assert fallback == 150
        assert mine.handle_timeout(due) == [Initiate(NEAR)]
        assert mine.is_up(21, True)


def test_a_rekey_event_initiates_at_once_and_keeps_the_session() -> None:
    made = manager(NEAR)
    made.receive(Established(21, True, 1, False, 7), 10.0)
    made.receive(Rekey(21, True), 50.0)
    assert made.handle_timeout(50.0) == [Initiate(NEAR)]
    assert made.is_up(21, True)
    made.receive(Rekey(21, True), 50.01)
    assert made.handle_timeout(50.01) == []
    made.receive(Established(21, True, 2, True, 7), 50.1)
    assert made.handle_timeout(100.0) == []


def test_a_silent_peer_is_initiated_again_and_heard_again_without_a_handshake() -> None:
    made = manager(NEAR)
    made.receive(Established(21, True, 1, True, 7), 10.0)
    assert made.receive(Down(21, True), 20.0) == [Log("warning", "peer down", NEAR)]
    assert not made.is_up(21, True)
    assert made.handle_timeout(20.06) == [Initiate(NEAR)]
    made.receive(Up(21, True), 20.1)
    assert made.is_up(21, True)
    assert made.handle_timeout(22.0) == []


def test_another_process_of_a_peer_is_told_whether_the_one_before_was_missed_or_not() -> None:
    made = manager(NEAR)
    restarted = Restarted(NEAR)
    assert restarted not in made.receive(Established(21, True, 1, True, 7), 10.0), "the first"
    assert restarted not in made.receive(Established(21, True, 2, True, 7), 20.0), "new keys"
    assert made.receive(Established(21, True, 3, False, 8), 30.0)[0] == restarted
    made.receive(Down(21, True), 40.0)
    assert restarted not in made.receive(Established(21, True, 4, False, 8), 41.0), "it was cut off"
    made.receive(Down(21, True), 50.0)
    assert made.receive(Established(21, True, 5, False, 9), 51.0)[0] == restarted


def test_an_end_to_end_handshake_waits_for_a_neighbour_and_then_goes_at_once() -> None:
    made = manager(NEAR, FAR)
    for turn in range(500):
        assert Initiate(FAR) not in made.handle_timeout(turn / 100)
    made.receive(Established(21, True, 1, True, 7), 5.0)
    assert Initiate(FAR) in made.handle_timeout(5.05)


def test_an_end_to_end_handshake_that_failed_is_tried_again_when_another_neighbour_comes_up() -> None:
    second = Relation(22, True)
    made = manager(NEAR, second, FAR)
    made.receive(Established(21, True, 1, True, 7), 0.0)
    times = [turn / 100 for turn in range(1000) if Initiate(FAR) in made.handle_timeout(turn / 100)]
    assert times[0] <= 0.05
    assert times[-1] < 9.5
    made.receive(Established(22, True, 1, True, 7), 10.0)
    assert Initiate(FAR) in made.handle_timeout(10.05)


def test_a_renewal_that_found_no_neighbour_is_made_up_for() -> None:
    made = manager(NEAR, FAR)
    made.receive(Established(21, True, 1, True, 7), 0.0)
    made.receive(Established(31, False, 1, True, 7), 0.0)
    made.receive(Down(21, True), 100.0)
    assert Initiate(FAR) not in made.handle_timeout(140.0)
    made.receive(Up(21, True), 141.0)
    assert Initiate(FAR) in made.handle_timeout(141.06)


def test_accepting_holds_back_our_own_initiation() -> None:
    made = manager(NEAR)
    assert made.receive_initiation(Initiation(5, 21, True, b"k", b"c"), None, 0.0) == [Accept(5)]
    assert made.handle_timeout(0.2) == []
    assert made.handle_timeout(0.3) == [Initiate(NEAR)]


def test_a_refusal_is_counted_each_time_and_logged_once_per_ten_minutes() -> None:
    made = manager(NEAR)
    offered = Initiation(5, 21, True, b"k", b"c")
    first = made.receive_initiation(offered, "revoked", 0.0)
    assert first == [Refuse(5, "revoked"), Log("warning", "initiation refused", NEAR, {"reason": "revoked"})]
    assert made.receive_initiation(offered, "revoked", 599.0) == [Refuse(5, "revoked")]
    assert len(made.receive_initiation(offered, "revoked", 601.0)) == 2
    assert made.refusals == {"revoked": 3}


def test_a_stranger_is_refused() -> None:
    made = manager(NEAR)
    for claimed, adjacent in ((99, True), (21, False)):
        commands = made.receive_initiation(Initiation(5, claimed, adjacent, b"k", b"c"), None, 0.0)
        assert commands[0] == Refuse(5, session.NOT_A_PEER)


def test_hostile_peer_numbers_do_not_grow_the_memory_of_refusals() -> None:
    made = manager(NEAR)
    logged = 0
    for number in range(5000):
        commands = made.receive_initiation(Initiation(number, number, True, b"k", b"c"), "other_ca", 1.0)
        logged += sum(isinstance(command, Log) for command in commands)
    assert logged == session.LOG_MEMORY + 1


def test_a_distrusted_peer_is_closed_and_left_alone_until_it_is_believed_again() -> None:
    made = manager(NEAR)
    made.receive(Established(21, True, 1, True, 7), 1.0)
    commands = made.set_peers({NEAR: Standing(distrust="revoked")}, 2.0)
    assert commands == [Close(NEAR), Log("warning", "peer distrusted", NEAR, {"reason": "revoked"})]
    assert made.next_timeout() is None
    assert made.receive(Established(21, True, 2, True, 7), 2.1) == [Close(NEAR)]
    assert not made.is_up(21, True)
    made.set_peers({NEAR: Standing()}, 3.0)
    assert made.handle_timeout(3.06) == [Initiate(NEAR)]


def test_a_peer_that_left_the_topology_is_closed() -> None:
    made = manager(NEAR, FAR)
    assert Close(FAR) in made.set_peers({NEAR: Standing()}, 1.0)
    assert made.receive(Established(31, False, 1, True, 7), 1.1) == [Close(FAR)]


def test_without_a_static_key_the_peer_has_to_begin() -> None:
    made = SessionManager(Random(1))
    made.set_peers({NEAR: Standing(can_initiate=False)}, 0.0)
    assert made.next_timeout() is None
    assert made.receive_initiation(Initiation(5, 21, True, b"k", b"c"), None, 0.0) == [Accept(5)]
    made.receive(Established(21, True, 1, False, 7), 0.1)
    assert made.is_up(21, True)
    assert made.next_timeout() is None


@pytest.mark.parametrize("seed", range(20))
def test_a_restarted_peer_has_a_session_within_a_second(seed: int) -> None:
    network = Network(seed)
    network.advance(3)
    assert network.both_up()
    network.advance(20 + seed)
    network.restart(2)
    network.advance(1)
    assert network.both_up()


@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.2, 0.5]), both=st.booleans())
@settings(max_examples=40, deadline=None)
def test_sessions_converge_over_a_lossy_network(seed: int, loss: float, both: bool) -> None:
    network = Network(seed, both_initiate=both)
    network.loss, network.duplicate = loss, 0.3
    network.advance(40)
    network.loss = 0.0
    network.advance(8)
    assert network.both_up()


def test_a_session_is_renewed_for_an_hour_with_few_handshakes() -> None:
    network = Network(3)
    network.duplicate = 0.1
    network.advance(3600)
    assert network.both_up()
    handshakes = sum(len(end.initiated) for end in network.ends.values())
    assert 25 <= handshakes <= 45


class Lossy(RuleBasedStateMachine):
    """Anything may happen to the network; the rate stays bounded, and once it is healed both ends have a session."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(1)

    @rule(seconds=st.floats(0.05, 20))
    def wait(self, seconds: float) -> None:
        self.network.advance(seconds)

    @rule(loss=st.sampled_from([0.0, 0.1, 0.5, 1.0]), duplicate=st.sampled_from([0.0, 0.5]))
    def impair(self, loss: float, duplicate: float) -> None:
        self.network.loss, self.network.duplicate = loss, duplicate

    @rule(number=st.sampled_from([1, 2]))
    def cut_one_way(self, number: int) -> None:
        self.network.cut ^= {number}

    @rule(number=st.sampled_from([1, 2]))
    def restart(self, number: int) -> None:
        self.network.restart(number)

    @rule(number=st.sampled_from([1, 2]))
    def rekey(self, number: int) -> None:
        self.network.rekey(number)

    @invariant()
    def initiations_are_bounded(self) -> None:
        for end in self.network.ends.values():
            for first, sixth in zip(end.initiated, end.initiated[6:], strict=False):
                assert sixth - first >= 0.99

    def teardown(self) -> None:
        self.network.loss = 0.0
        self.network.cut.clear()
        self.network.advance(10)
        assert self.network.both_up()


TestLossy = Lossy.TestCase
TestLossy.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
