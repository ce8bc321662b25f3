from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from braid.pathwatch import GRACE, HOLD, PathSample, PathWatch, samples

PEER = 31
VIA_A, VIA_B = (21, PEER), (22, PEER)
LOOK = 0.5


def look(watch: PathWatch, now: float, **arrives: bool | None) -> bool:
    routes = {"a": VIA_A, "b": VIA_B}
    return watch.observe([PathSample(PEER, routes[name], value) for name, value in arrives.items()], now)


def test_a_path_the_peer_does_not_hear_is_avoided_after_two_looks() -> None:
    watch = PathWatch()
    look(watch, 0.0, a=True, b=True)
    assert not look(watch, 10.0, a=False, b=True)
    assert watch.avoid(PEER) == frozenset()
    assert look(watch, 10.5, a=False, b=True)
    assert watch.avoid(PEER) == {21}
    assert watch.avoid(32) == frozenset()


def test_one_lost_report_or_none_at_all_changes_nothing() -> None:
    watch = PathWatch()
    look(watch, 0.0, a=True, b=True)
    for turn in range(100):
        assert not look(watch, 10 + turn * LOOK, a=turn % 2 == 0, b=None)


def test_a_new_path_has_time_to_be_heard() -> None:
    watch = PathWatch()
    now = 0.0
    while now < GRACE:
        assert not look(watch, now, a=False, b=True)
        now += LOOK
    look(watch, now, a=False, b=True)
    assert look(watch, now + LOOK, a=False, b=True)


def test_a_path_that_is_given_another_chance_has_time_to_be_heard() -> None:
    watch = PathWatch()
    now = 0.0
    while not watch.avoid(PEER):
        now += LOOK
        look(watch, now, a=False, b=True)
    while watch.avoid(PEER):
        now += LOOK
        look(watch, now, b=True)
    for arrives in (False, False, False, True, True):
        now += LOOK
        assert not look(watch, now, a=arrives, b=True)
    assert watch.avoid(PEER) == frozenset()


def test_a_path_that_is_heard_again_is_used_again_at_once() -> None:
    watch = PathWatch()
    for turn in range(10):
        look(watch, turn * LOOK, a=False, b=True)
    assert watch.avoid(PEER) == {21}
    assert look(watch, 6.0, a=True, b=True)
    assert watch.avoid(PEER) == frozenset()


def test_another_chance_comes_later_each_time() -> None:
    watch = PathWatch()
    now = 0.0
    broken: list[float] = []
    avoided = False
    while len(broken) < 8:
        now += LOOK
        # An avoided path is out of use: nothing is known of it.
        changed = look(watch, now, b=True) if avoided else look(watch, now, a=False, b=True)
        if changed:
            avoided = bool(watch.avoid(PEER))
            if avoided:
                broken.append(now)
    gaps = [after - before for before, after in itertools.pairwise(broken)]
    for gap, hold in zip(gaps, [*HOLD, HOLD[-1]], strict=False):
        assert hold <= gap <= hold + 3


def test_a_node_on_a_path_that_arrives_is_not_the_broken_one() -> None:
    watch = PathWatch()
    long, short = (21, 22, PEER), (22, PEER)
    for turn in range(10):
        watch.observe([PathSample(PEER, long, False), PathSample(PEER, short, True)], turn * LOOK)
    assert watch.avoid(PEER) == {21}


def test_paths_out_of_use_are_not_judged() -> None:
    paths = [
        {"peer": PEER, "route": [21, PEER], "in_use": True, "arrives": True},
        {"peer": PEER, "route": [22, PEER], "in_use": False, "arrives": False},
        {"peer": PEER, "route": [23, PEER]},
    ]
    assert samples({"paths": paths}) == [PathSample(PEER, (21, PEER), True), PathSample(PEER, (23, PEER), None)]
    assert samples({}) == []


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None]))))
def test_it_tells_of_every_change_and_of_nothing_else(history: list[tuple[bool | None, bool | None]]) -> None:
    watch = PathWatch()
    before = watch.avoid(PEER)
    for turn, (a, b) in enumerate(history):
        changed = look(watch, turn * LOOK, a=a, b=b)
        assert changed == (watch.avoid(PEER) != before)
        before = watch.avoid(PEER)
