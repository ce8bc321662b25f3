"""Delays: when what is settled changes, and which edges are near enough."""

from __future__ import annotations

from random import Random

import pytest

from dns.delays import HOLD, Settler, clearly_better
from dns.distance import Way, great_circle_km, nearest
from topology.model import Location

FRANKFURT, PARIS, NEW_YORK = Location(50.11, 8.68), Location(48.86, 2.35), Location(40.71, -74.01)


def test_clearly_better_is_ten_milliseconds_and_one_third() -> None:
    assert clearly_better(20, 30)
    assert not clearly_better(20.1, 30)
    assert not clearly_better(19, 28.5), "a third, but not 10 ms"
    assert not clearly_better(80, 100), "20 ms, but not a third"


class Scene:
    def __init__(self, **delays: float | None) -> None:
        self.settler, self.now = Settler(), 0.0
        self.delays: dict[str, float | None] = dict(delays)
        self.settled = self.look()

    def look(self) -> dict[str, float]:
        return self.settler.settle({"shop": self.delays}, self.now)["shop"]

    def run(self, seconds: float, **delays: float | None) -> dict[str, float]:
        self.delays |= delays
        for _ in range(round(seconds)):
            self.now += 1
            self.settled = self.look()
        return self.settled


def test_first_measurements_are_taken_as_they_are() -> None:
    scene = Scene(a=50.0, b=None)
    assert scene.settled == {"a": 50.0}
    assert scene.run(1, b=70.0) == {"a": 50.0, "b": 70.0}


def test_a_clear_gain_that_lasts_is_followed_and_a_short_or_small_one_is_not() -> None:
    scene = Scene(a=100.0, b=100.0)
    assert scene.run(60, b=70.0) == {"a": 100.0, "b": 100.0}
    assert scene.run(HOLD - 1, b=60.0)["b"] == 100.0
    assert scene.run(30, b=80.0)["b"] == 100.0, "it did not last"
    assert scene.run(HOLD + 1, b=60.0) == {"a": 100.0, "b": 60.0}
    assert scene.run(60, b=75.0)["b"] == 60.0, "a turn back takes more than that"
    assert scene.run(HOLD + 1, b=90.0)["b"] == 90.0


def test_a_difference_that_changed_much_is_followed_even_where_it_turns_nothing_here() -> None:
    scene = Scene(a=100.0, b=150.0)
    assert scene.run(HOLD + 1, b=230.0)["b"] == 230.0


def test_one_that_is_not_measured_any_more_keeps_its_delay_and_one_that_is_gone_does_not() -> None:
    scene = Scene(a=100.0, b=50.0)
    assert scene.run(60, b=None) == {"a": 100.0, "b": 50.0}
    del scene.delays["b"]
    assert scene.run(1) == {"a": 100.0}


def test_applications_are_settled_each_for_itself() -> None:
    settler = Settler()
    settler.settle({"shop": {"a": 100.0, "b": 100.0}, "lab": {"a": 100.0, "b": 100.0}}, 0.0)
    for now in range(1, 20):
        found = settler.settle({"shop": {"a": 100.0, "b": 50.0}, "lab": {"a": 100.0, "b": 100.0}}, float(now))
    assert found == {"shop": {"a": 100.0, "b": 50.0}, "lab": {"a": 100.0, "b": 100.0}}
    assert settler.settle({"lab": {"a": 1.0}}, 20.0) == {"lab": {"a": 100.0}}


@pytest.mark.parametrize("ratio", [1.0, 1.2, 1.45, 1.5, 1.55, 3.0])
def test_noise_settles_anew_at_most_once(ratio: float) -> None:
    rng, settler, kept = Random(4), Settler(), []
    for second in range(3600):
        noisy = {"a": 40.0 * rng.gauss(1, 0.03), "b": 40.0 * ratio * rng.gauss(1, 0.03)}
        kept.append(tuple(settler.settle({"shop": noisy}, float(second))["shop"].items()))
    assert len(dict.fromkeys(kept)) <= 2


def test_great_circles() -> None:
    assert great_circle_km(FRANKFURT, PARIS) == pytest.approx(478, abs=3)
    assert great_circle_km(PARIS, NEW_YORK) == great_circle_km(NEW_YORK, PARIS) == pytest.approx(5837, abs=10)
    assert great_circle_km(Location(0, 179.5), Location(0, -179.5)) == pytest.approx(111.2, abs=0.1)
    assert great_circle_km(Location(90, 0), Location(-90, 77)) == pytest.approx(20015, abs=1)
    assert great_circle_km(PARIS, PARIS) == 0


@pytest.mark.parametrize(
    ("ways", "fast", "best"),
    [
        ([(None, None), (None, None)], (0, 1), (0, 1)),
        ([(20, None), (31, None)], (0,), (0,)),
        ([(20, None), (29, None)], (0, 1), (0, 1)),
        ([(20, None), (None, None)], (0, 1), (0, 1)),
        ([(None, 500), (None, 620)], (0, 1), (0,)),
        ([(None, 500), (None, 590)], (0, 1), (0, 1)),
        ([(None, 500), (None, None)], (0, 1), (0, 1)),
        ([(None, 500), (None, 2000)], (0,), (0,)),
        # 10 ms away and 60 behind it, or 40 ms away and 5 behind it: the further one is sooner there.
        ([(60, 500), (5, 2000)], (1,), (1,)),
        ([(20, 500), (5, 800)], (0, 1), (0,)),
        ([(20, 500), (5, None)], (1,), (1,)),
    ],
)
def test_the_nearest(
    ways: list[tuple[float | None, float | None]], fast: tuple[int, ...], best: tuple[int, ...]
) -> None:
    assert nearest(range(len(ways)), lambda edge: Way(*ways[edge])) == (fast, best)
