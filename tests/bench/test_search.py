"""The search for the highest rate without loss."""

from __future__ import annotations

import pytest

from bench.search import HIGHEST, LOWEST, Search, highest_rate

WIDE = Search(start=40_000, factor=2, steps=4)


@pytest.mark.parametrize("capacity", [11_000.0, 30_000.0, 90_000.0, 333_333.0])
@pytest.mark.parametrize("start", [10_000.0, 80_000.0, 700_000.0])
def test_finds_a_networks_capacity_from_below_and_above(capacity: float, start: float) -> None:
    found = highest_rate(lambda rate: (rate, max(0.0, 1 - capacity / rate)), Search(start, 2, 4))
    assert capacity * 0.95 < found <= capacity * 1.002


def test_stops_where_the_generator_ends() -> None:
    tried: list[float] = []

    def run(rate: float) -> tuple[float, float]:
        tried.append(rate)
        return min(rate, 120_000.0), 0.0

    assert highest_rate(run, WIDE) == 120_000
    assert tried == [40_000, 80_000, 160_000]


def test_one_hiccup_does_not_fail_a_rate() -> None:
    tried: list[float] = []

    def run(rate: float) -> tuple[float, float]:
        tried.append(rate)
        return rate, 0.5 if len(tried) == 1 or rate > 100_000 else 0.0

    assert highest_rate(run, WIDE) > 90_000


def test_a_network_that_loses_everything_has_no_rate() -> None:
    tried: list[float] = []

    def run(rate: float) -> tuple[float, float]:
        tried.append(rate)
        return rate, 1.0

    assert highest_rate(run, WIDE) == 0
    assert min(tried) >= LOWEST
    assert max(tried) == WIDE.start


def test_ends_also_where_nothing_is_ever_lost() -> None:
    assert HIGHEST / 2 < highest_rate(lambda rate: (rate, 0.0), WIDE) <= HIGHEST
