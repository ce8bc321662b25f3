from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.redundancy.alarm import HOLD, LONGEST_HOLD, Alarm
from braid.redundancy.estimate import Belief, Counts, Kinship, believe, joint_loss, joint_prior, missing, path_loss

CLEAN = Belief(1e-3, 1e-3)


def test_nothing_counted_is_the_prior() -> None:
    assert believe(Counts(), 2e-3).estimate == pytest.approx(2e-3)
    assert believe(Counts(), 2e-3).bound > 6e-3


def test_many_packets_outweigh_the_prior() -> None:
    counts = Counts(1e6, 1000.0, 900.0)
    assert path_loss(counts).estimate == pytest.approx(1e-3, rel=0.02)
    assert 1e-3 < path_loss(counts).bound < 1.15e-3


def test_bursts_are_weaker_evidence_than_single_losses() -> None:
    single, bursts = Counts(1e5, 100.0, 100.0), Counts(1e5, 100.0, 10.0)
    assert path_loss(bursts).bound > 1.2 * path_loss(single).bound


@given(st.floats(0, 1e7), st.floats(0, 1e4), st.floats(0, 100), st.floats(1e-9, 0.5))
def test_the_bound_is_above_the_estimate_and_falls_with_packets(
    sent: float, lost: float, episodes: float, prior: float
) -> None:
    belief = believe(Counts(sent + lost, lost, episodes), prior)
    assert 0 <= belief.estimate <= belief.bound <= 1
    more = believe(Counts(2 * sent + lost + 1, lost, episodes), prior)
    assert more.bound <= belief.bound


def test_losses_within_a_second_are_one_episode() -> None:
    counts = Counts()
    for now in (1.0, 1.5, 2.4, 5.0):
        counts.add(10, 1, now)
    assert (counts.sent, counts.lost, counts.episodes) == (40, 4, 2)


def test_joint_loss_is_never_believed_to_be_independent() -> None:
    independent = CLEAN.bound**2
    priors = [joint_prior(Counts(), CLEAN, CLEAN, kinship) for kinship in Kinship]
    assert independent < priors[0] < priors[1] < priors[2]
    # With common losses counted, a declaration is given up.
    counted = Counts(1e5, 60.0, 12.0)
    assert joint_loss(counted, CLEAN, CLEAN, Kinship.DECLARED_DISJOINT).estimate == pytest.approx(6e-4, rel=0.05)


@pytest.mark.parametrize("target", [1e-4, 1e-5, 1e-6])
def test_as_many_packets_as_are_said_to_be_missing_are_enough(target: float) -> None:
    counts = Counts(5000.0)
    prior = joint_prior(counts, CLEAN, CLEAN, Kinship.UNKNOWN)
    needed = missing(counts, prior, target)
    assert needed > 0
    assert believe(Counts(5000.0 + 1.001 * needed), prior).bound <= target
    assert believe(Counts(5000.0 + 0.99 * needed), prior).bound > target


def test_heavy_loss_alarms_within_half_a_second_and_light_loss_never() -> None:
    alarm = Alarm()
    heard = [alarm.observe(10, 5, tick / 10, data=True) for tick in range(6)]
    assert True in heard[:5]
    light = Alarm()
    assert not any(light.observe(100, tick % 10 == 0, tick / 10, data=True) for tick in range(10_000))


def test_a_single_burst_is_no_alarm() -> None:
    alarm = Alarm()
    assert not alarm.observe(100, 60, 0.0, data=True)


def test_an_alarm_is_held_and_held_longer_when_it_comes_back() -> None:
    alarm, now, holds = Alarm(), 0.0, []
    for _ in range(6):
        while not alarm.on:
            alarm.observe(10, 5, now, data=True)
            now += 0.1
        began = now
        while alarm.on:
            now += 0.1
            alarm.observe(10, 0, now, data=True)
        holds.append(round(now - began))
    assert holds == [HOLD, 20, 40, 80, LONGEST_HOLD, LONGEST_HOLD]
    now += 100
    while not alarm.on:
        alarm.observe(10, 5, now, data=True)
        now += 0.1
    assert alarm.hold == HOLD
