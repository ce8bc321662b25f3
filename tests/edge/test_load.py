"""Load of an edge, and how much of its clients it sends elsewhere."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from braid import threads
from braid.threads import busy_seconds
from edge.load import AIM, CALM, HIGH, LOW, PACE, Carried, LoadMeter, Spill


def measured(mbit: float, cpu: float, capacity: int | None, seconds: int = 20) -> float:
    """The load after so long of this traffic and of data threads of which the busiest works this share of the time."""
    meter = LoadMeter()
    for step in range(seconds * 2):
        now = step / 2
        octets = round(mbit * 1e6 / 8 * now)
        meter.observe(Carried(octets, octets // 3, (cpu * now, cpu * now / 2)), capacity, now)
    return meter.load


def test_load_is_the_larger_of_traffic_and_processor() -> None:
    assert measured(500, 0.1, 1000) == pytest.approx(0.5, abs=0.01)
    assert measured(100, 0.7, 1000) == pytest.approx(0.7, abs=0.01)
    assert measured(100, 0.3, None) == pytest.approx(0.3, abs=0.01)
    assert measured(1200, 0.1, 1000) == pytest.approx(1.2, abs=0.01)


def test_samples_that_come_too_soon_and_threads_that_begin_count_for_nothing() -> None:
    meter = LoadMeter()
    meter.observe(Carried(0, 0, ()), 1, 0.0)
    meter.observe(Carried(10**9, 0, (5.0,)), 1, 0.1)
    assert meter.load == 0
    meter.observe(Carried(0, 0, (9.0,)), 1, 1.0)
    assert meter.load == 0, "a thread that was not there before has no time yet"


def settle(demand: float, seconds: int, spill: Spill, start: float = 0.0, inertia: float = 15.0) -> list[float]:
    """Shares over time, once a second: the load follows the clients that are left, as slowly as answers expire."""
    load, shares = demand * (1 - spill.share), []
    for second in range(seconds):
        load += (demand * (1 - spill.share) - load) / inertia
        spill.follow(load, start + second)
        shares.append(spill.share)
    return shares


@pytest.mark.parametrize("demand", [0.95, 1.2, 1.5, 2.5, 5.0])
def test_spilling_finds_a_share_and_stays_there(demand: float) -> None:
    shares = settle(demand, 1800, Spill())
    final = shares[-600:]
    assert len(set(final)) == 1, "no more changes"
    assert LOW < demand * (1 - final[0]) < HIGH
    assert len(dict.fromkeys(shares)) < 30


def test_one_that_carries_enough_but_not_too_much_spills_nobody() -> None:
    assert settle(HIGH - 0.01, 600, Spill())[-1] == 0


def test_clients_are_taken_back_when_they_have_become_fewer() -> None:
    spill = Spill()
    settle(2.0, 600, spill)
    assert spill.share == pytest.approx(1 - AIM / 2, abs=0.08)
    shares = settle(0.5, 600, spill, 600)
    assert shares[int(CALM) - 2] == shares[0], "not before load has been low for long"
    assert shares[-1] == 0
    steps = list(dict.fromkeys(shares))
    assert max(before - after for before, after in pairwise(steps)) <= 0.126


def test_one_that_stays_full_whatever_it_sends_away_takes_nobody_and_begins_again_with_few() -> None:
    spill = Spill()
    for second in range(600):
        spill.follow(1.5, second)
    assert spill.share == 1
    for second in range(600, 600 + int(CALM + PACE)):
        spill.follow(0.1, second)
    assert 0.8 < spill.share < 1


def test_the_kernel_tells_of_threads_with_the_name_of_the_data_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    assert busy_seconds() == ()
    own = (threads.TASKS / str(threading.get_native_id()) / "comm").read_text().strip()
    monkeypatch.setattr(threads, "THREAD", own)
    seconds = busy_seconds()
    assert seconds
    assert max(seconds) > 0
