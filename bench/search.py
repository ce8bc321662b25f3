"""The search for the highest rate at which a network loses next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_LOST = 0.001
LOWEST, HIGHEST = 2_000.0, 2_000_000.0
"""Packets/s: below the one nothing is looked for, above the other neither."""


@dataclass(frozen=True, slots=True)
class Search:
    """Begins at ``start`` packets/s, goes on by ``factor`` up or down, then halves what is between so many times."""

    start: float
    factor: float
    steps: int


def highest_rate(run: Callable[[float], tuple[float, float]], search: Search) -> float:
    """The highest rate found at which fewer than ``MOST_LOST`` are lost: packets/s as really sent, 0 if there is none.

    ``run`` tries one rate: packets/s really sent, and the share that was lost. What fails is tried a second time, since
    a single hiccup of the machine loses more than that.
    """
    best, passed, failed = 0.0, 0.0, 0.0
    rate, steps = search.start, search.steps
    while LOWEST <= rate <= HIGHEST:
        sent, lost = run(rate)
        if lost >= MOST_LOST:
            sent, lost = run(rate)
        if lost < MOST_LOST:
            best, passed = max(best, sent), rate
            if sent < 0.9 * rate:
                # The generator can do no more.
                break
        else:
            failed = rate
        if passed and failed:
            if steps == 0:
                break
            steps -= 1
            rate = sqrt(passed * failed)
        else:
            rate = rate * search.factor if passed else rate / search.factor
    return best
