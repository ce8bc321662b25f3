"""When dead workers are followed by others."""

from __future__ import annotations

from content.restarts import AT_ONCE, EACH, LONGEST_PAUSE, Restarts


def test_some_deaths_are_followed_at_once_then_pauses_grow() -> None:
    restarts = Restarts()
    pauses = [restarts.died(0.0) for _ in range(AT_ONCE + 7)]
    assert pauses[:AT_ONCE] == [0.0] * AT_ONCE
    assert pauses[AT_ONCE:] == [0.5, 1.0, 2.0, 4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE]


def test_time_makes_up_for_deaths() -> None:
    restarts = Restarts()
    for _ in range(AT_ONCE + 3):
        restarts.died(0.0)
    assert restarts.died(EACH) == 0.0
    assert restarts.died(EACH) == 0.5
    assert all(restarts.died(2 * EACH + EACH * n) == 0.0 for n in range(100))
