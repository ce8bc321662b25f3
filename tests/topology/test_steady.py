from __future__ import annotations

from random import Random

import pytest

from topology.model import HealthSettings
from topology.steady import Steady

SETTINGS = HealthSettings()


def test_worse_counts_at_once_and_better_after_the_hold_by_the_worst_of_it() -> None:
    steady = Steady(10.0, 0.0)
    assert steady.observe(20.0, 1.0, 5.0, 3.0, SETTINGS)
    assert (steady.value, steady.since) == (20.0, 1.0)
    for second in range(2, 32):
        assert not steady.observe(10.0 + second % 3, float(second), 5.0, 3.0, SETTINGS)
    assert steady.observe(10.0, 32.0, 5.0, 3.0, SETTINGS)
    assert steady.value == 12.0


def test_a_little_worse_counts_when_it_lasts() -> None:
    steady = Steady(10.0, 0.0)
    changed = [now for now in range(100) if steady.observe(14.0 + now % 2 / 2, float(now), 5.0, 3.0, SETTINGS)]
    assert (changed, steady.value) == ([30], 14.0)


@pytest.mark.parametrize("ticks", range(10))
def test_a_step_of_what_is_smoothed_is_followed_to_its_end_whenever_it_comes(ticks: int) -> None:
    """A mean of samples each tenth of a second (gain 1/8, as of round trips) that is looked at each second."""
    steady, mean, looks = Steady(10.0, 0.0), 10.0, []
    for tick in range(ticks, 120):
        mean += (40.0 - mean) / 8
        if tick % 10 == 0:
            drift = 0.15 * steady.value
            looks.append(steady.value if steady.observe(mean, tick / 10, 0.25 * steady.value, drift, SETTINGS) else 0)
    assert steady.value > 38.0
    assert sum(map(bool, looks)) <= 4
    assert not any(looks[5:]), "within 5 s, not after the hold"


def test_what_has_jumped_and_stopped_growing_is_not_followed_by_a_little() -> None:
    steady = Steady(10.0, 0.0)
    assert steady.observe(20.0, 1.0, 5.0, 3.0, SETTINGS)
    assert not steady.observe(20.5, 2.0, 5.0, 3.0, SETTINGS)
    assert not steady.observe(22.0, 3.0, 5.0, 3.0, SETTINGS)


def test_noise_of_a_fifth_either_way_is_followed_twice_at_most() -> None:
    for seed in range(50):
        rng = Random(seed)
        steady = Steady(100 * rng.uniform(0.8, 1.2), 0.0)
        changes = sum(
            steady.observe(100 * rng.uniform(0.8, 1.2), now / 2, 0.25 * steady.value, 0.15 * steady.value, SETTINGS)
            for now in range(7200)
        )
        assert changes <= 2
        assert 80 <= steady.value <= 120


def test_relapses_double_the_hold_up_to_its_longest() -> None:
    steady, now, holds = Steady(0.0, 0.0), 0.0, []
    for _ in range(7):
        steady.observe(1.0, now, 1.0, 1.0, SETTINGS)
        holds.append(steady.hold(SETTINGS))
        began = now
        while steady.value:
            now += 1.0
            steady.observe(0.0, now, 1.0, 1.0, SETTINGS)
        assert now - began == holds[-1] + 1.0
        now += 10.0
    assert holds == [30, 60, 120, 240, 300, 300, 300]
    steady.observe(1.0, now + 601.0, 1.0, 1.0, SETTINGS)
    assert steady.relapses == 0
