from __future__ import annotations

from random import Random

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
