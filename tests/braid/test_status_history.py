"""The memory of what was measured: what comes out is what went in, gaps stay gaps, and memory has an end."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.status.history import FIELD_BYTES, LOOK_AGAIN, MAX_BYTES, MINUTES, SECONDS, History, shorten

ONE = ("edge-fra-1", "neighbour", "mid-ams-1")


def test_seconds_come_back_in_order_and_what_was_not_measured_is_a_gap() -> None:
    history = History()
    for second in range(100, 105):
        history.record(ONE, {"rtt_ms": None if second == 102 else second / 2}, second + 0.3)
    assert history.seconds(ONE, 106.9, 8).values == {"rtt_ms": [None, 50, 50.5, None, 51.5, 52, None, None]}


def test_a_minute_is_the_mean_of_its_measured_seconds() -> None:
    history = History()
    for second in range(600, 720):
        value = 1.0 if second < 660 else 3.0 if second % 2 else None
        history.record(ONE, {"rtt_ms": value, "loss": None if second < 660 else 0.5}, second)
    history.record(ONE, {"rtt_ms": 9.0}, 900)
    curve = history.minutes(ONE, 900, 6)
    assert curve.step_s == 60
    assert curve.values["rtt_ms"] == [None, 1.0, 3.0, None, None, None]
    assert curve.values["loss"] == [None, None, 0.5, None, None, None]


def test_a_field_appears_with_its_first_value() -> None:
    history = History()
    history.record(ONE, {"up": 1.0, "jitter_ms": None}, 10)
    assert set(history.seconds(ONE, 10).values) == {"up"}
    history.record(ONE, {"up": 1.0, "jitter_ms": 0.25}, 11)
    assert history.seconds(ONE, 11, 2).values == {"up": [1, 1], "jitter_ms": [None, 0.25]}


def test_the_oldest_is_overwritten() -> None:
    history = History()
    for second in range(1000, 1000 + 2 * SECONDS):
        history.record(ONE, {"up": float(second)}, second)
    values = history.seconds(ONE, 1000 + 2 * SECONDS - 1).values["up"]
    assert len(values) == SECONDS
    assert (values[0], values[-1]) == (1000 + SECONDS, 1000 + 2 * SECONDS - 1)


@given(st.lists(st.tuples(st.integers(0, 900), st.none() | st.integers(0, 99)), max_size=40))
def test_it_equals_a_plain_dictionary(steps: list[tuple[int, int | None]]) -> None:
    history, expected, now = History(), dict[int, int | None](), 5000
    history.record(ONE, {"x": 0.0}, now)
    expected[now] = 0
    for pause, value in steps:
        now += pause
        expected[now] = value
        history.record(ONE, {"x": value}, now)
    assert history.seconds(ONE, now).values["x"] == [expected.get(s) for s in range(now - SECONDS + 1, now + 1)]


def test_time_that_goes_back_changes_nothing() -> None:
    history = History()
    history.record(ONE, {"up": 1.0}, 50)
    history.record(ONE, {"up": 0.0}, 49)
    assert history.seconds(ONE, 50, 2).values["up"] == [None, 1]


def test_memory_is_bounded_and_what_it_says_is_true() -> None:
    tracemalloc.start()
    history = History(max_bytes=100 * FIELD_BYTES)
    before, _ = tracemalloc.get_traced_memory()
    for second in range(3):
        for number in range(400):
            history.record(("n", "path", str(number)), {"up": 1.0, "rtt_ms": 2.0}, second)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert history.bytes == 100 * FIELD_BYTES
    assert history.refused
    assert history.bytes <= used <= 1.5 * history.bytes


def test_the_longest_silent_makes_room() -> None:
    history = History(max_bytes=2 * FIELD_BYTES)
    old, other, new = (("n", "path", name) for name in ("old", "other", "new"))
    history.record(old, {"up": 1.0}, 0)
    history.record(other, {"up": 1.0}, 1)
    history.record(new, {"up": 1.0}, 2)
    assert history.refused == 1
    history.record(other, {"up": 1.0}, SECONDS)
    history.record(new, {"up": 1.0}, SECONDS)
    assert set(history.subjects()) == {other, new}
    assert history.bytes == 2 * FIELD_BYTES


def test_the_cap_holds_the_links_of_a_large_node() -> None:
    """50 neighbours and 250 paths with every field that is measured today."""
    assert MAX_BYTES >= 50 * 4 * FIELD_BYTES + 250 * 5 * FIELD_BYTES
    assert (SECONDS, MINUTES) == (600, 1440)


def test_shortened_to_means() -> None:
    assert shorten([1, 2, 3, 4, None], 2) == [1.5, 3.5]
    assert shorten([1, None, None], 3) == [1, None, None]
    assert shorten([None, None, 4, 6], 2) == [None, 5]


def test_an_unknown_subject_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        History().seconds(ONE, 0)


def test_a_full_memory_costs_little_and_takes_new_subjects_when_old_ones_have_gone() -> None:
    history = History(max_bytes=FIELD_BYTES)
    old, new = ("n", "path", "old"), ("n", "path", "new")
    history.record(old, {"up": 1.0}, 0)
    for second in range(1, 2 * SECONDS):
        history.record(new, {"up": 1.0}, second)
    assert history.subjects() == (new,)
    assert SECONDS - 1 <= history.refused <= SECONDS + LOOK_AGAIN
