from __future__ import annotations

from random import Random

import pytest

from edge.delay import LEAST_SAMPLES, DelayMeter


def test_nothing_is_said_of_a_gateway_before_it_is_known_well() -> None:
    meter = DelayMeter()
    for sample in range(LEAST_SAMPLES - 1):
        meter.observe({31: 20.0}, sample / 2)
    assert meter.delay(31) is None
    meter.observe({31: 20.0}, 10.0)
    assert meter.delay(31) == 20.0
    assert meter.delay(32) is None


def test_noise_of_a_fifth_becomes_one_of_some_hundredths_and_a_step_is_followed_in_half_a_minute() -> None:
    rng, meter = Random(1), DelayMeter()
    seen = []
    for sample in range(2000):
        meter.observe({31: 100 * rng.uniform(0.8, 1.2)}, sample / 2)
        seen.append(meter.delay(31) or 100.0)
    assert max(abs(each - 100) for each in seen) < 10
    for sample in range(2000, 2060):
        meter.observe({31: 60 * rng.uniform(0.8, 1.2)}, sample / 2)
    assert meter.delay(31) == pytest.approx(62, abs=6)


def test_looking_often_at_the_same_sample_does_not_make_it_weigh_more() -> None:
    often, seldom = DelayMeter(), DelayMeter()
    for sample in range(40):
        value = {31: 20.0 if sample < 20 else 40.0}
        seldom.observe(value, sample / 2)
        for look in range(10):
            often.observe(value, sample / 2 + look / 100)
    assert often.delay(31) == seldom.delay(31)


def test_one_that_is_not_measured_any_more_is_forgotten() -> None:
    meter = DelayMeter()
    for sample in range(20):
        meter.observe({31: 20.0}, sample / 2)
    meter.observe({}, 10.0)
    assert meter.delay(31) is None
