"""Worse standings are believed soon, better ones late: against a reading of the whole history."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns.damper import HOLD, PATIENCE, Damper
from dns.policy import Standing

UP, HOLDING, DEGRADED, FULL, DRAINING, DOWN = Standing
REPORTED = (UP, DEGRADED, FULL, DRAINING, DOWN)


def shown(*history: tuple[float, Standing]) -> list[Standing]:
    damper: Damper[str] = Damper()
    return [damper.settle({"edge": standing}, at)["edge"] for at, standing in history]


def test_the_first_standing_is_taken_as_it_is() -> None:
    for standing in REPORTED:
        assert shown((5.0, standing)) == [standing]


@pytest.mark.parametrize("worse", [DOWN, DRAINING])
def test_down_and_draining_are_believed_at_once(worse: Standing) -> None:
    assert shown((0.0, UP), (0.1, worse)) == [UP, worse]


@pytest.mark.parametrize("worse", [DEGRADED, FULL])
def test_other_trouble_must_last(worse: Standing) -> None:
    assert shown((0.0, UP), (1.0, worse), (2.4, worse), (2.5, worse)) == [UP, UP, UP, worse]
    assert shown((0.0, UP), (1.0, worse), (2.0, UP), (2.1, worse), (3.0, worse)) == [UP] * 5


def test_clients_are_called_back_after_a_hold() -> None:
    assert shown((0.0, DOWN), (1.0, UP), (10.9, UP), (11.0, UP)) == [DOWN, HOLDING, HOLDING, UP]
    assert shown((0.0, DEGRADED), (1.0, UP), (11.0, UP)) == [DEGRADED, HOLDING, UP]


def test_a_drain_taken_back_needs_no_hold() -> None:
    assert shown((0.0, DRAINING), (1.0, UP)) == [DRAINING, UP]


def test_an_edge_that_flaps_stays_a_second_choice() -> None:
    history = [(0.0, UP)] + [(n * 1.0, DOWN if n // 4 % 2 == 0 else UP) for n in range(1, 600)]
    got = shown(*history)
    assert UP not in got[4:]
    changes = sum(one is UP and other is not UP for one, other in pairwise(got))
    assert changes == 1


def test_noise_of_single_reports_changes_nothing_for_an_hour() -> None:
    rng = random.Random(9)
    history = [(n * 0.5, DEGRADED if rng.random() < 0.01 else UP) for n in range(7200)]
    assert set(shown(*history)) == {UP}


def test_restless_is_who_waits() -> None:
    damper: Damper[str] = Damper()
    waits = []
    for at, standing in ((0.0, UP), (1.0, DEGRADED), (2.5, DEGRADED), (3.0, UP), (13.0, UP), (14.0, DOWN)):
        damper.settle({"edge": standing}, at)
        waits.append(damper.restless)
    assert waits == [False, True, False, True, False, False]


def test_when_the_news_came_that_is_acted_on() -> None:
    damper: Damper[str] = Damper()
    for at, standing, acted, known in (
        (0.0, UP, UP, None),
        (1.0, DEGRADED, UP, None),
        (2.5, DEGRADED, DEGRADED, 0.9),
        (3.0, DOWN, DOWN, 2.9),
        (4.0, UP, HOLDING, None),
    ):
        settled = damper.settle({"edge": standing}, at, lambda _key, at=at: at - 0.1)  # type: ignore[misc]
        assert settled == {"edge": acted}
        assert damper.news("edge", acted) == known
    assert damper.news("edge", DOWN) is None, "not acted on any more"
    assert damper.news("other", UP) is None


def test_who_leaves_is_forgotten() -> None:
    damper: Damper[str] = Damper()
    damper.settle({"a": DOWN}, 0.0)
    assert damper.settle({"b": UP}, 1.0) == {"b": UP}
    assert damper.settle({"a": UP}, 2.0) == {"a": UP}


def reading(history: list[tuple[float, Standing]]) -> Standing:
    """The standing at the end of a history, by walking it in runs of equal reports."""
    state = history[0][1]
    began = history[0][0]
    previous = history[0][1]
    for at, standing in history:
        if standing is not previous:
            began, previous = at, standing
        lasted = at - began
        if standing in (DRAINING, DOWN) or standing is state:
            state = standing
        elif standing is UP and state is not DRAINING:
            state = UP if lasted >= HOLD else HOLDING
        elif standing is UP or state in (DRAINING, DOWN) or lasted >= PATIENCE:
            state = standing
    return state


@given(st.lists(st.tuples(st.floats(0, 6), st.sampled_from(REPORTED)), min_size=1, max_size=40))
def test_any_history(steps: list[tuple[float, Standing]]) -> None:
    now, history = 0.0, []
    for step, standing in steps:
        now += step
        history.append((now, standing))
    assert shown(*history) == [reading(history[: n + 1]) for n in range(len(history))]
    for (_, reported), acted in zip(history, shown(*history), strict=True):
        assert acted.works or acted is reported, "nobody is sent away without a report that says so"
        assert reported.works or acted is reported, "nobody is sent to an edge that does not work"
