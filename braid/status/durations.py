"""How long things took, counted by buckets as a histogram has them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BOUNDS_MS = (0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds of the buckets; above the last one there is another."""
_NAMES = (*(str(bound) for bound in BOUNDS_MS), "inf")


@dataclass(slots=True)
class Durations:
    seconds: float = 0.0
    """Of all together."""
    _found: Counter[str] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self._found[_NAMES[bisect_left(BOUNDS_MS, seconds * 1000)]] += 1

    def counts(self) -> dict[str, int]:
        """By the upper bound of their bucket in milliseconds; buckets that have none are there too, as a curve begins
        at its zero."""
        return every_bucket(self._found)


def every_bucket(found: Mapping[str, int]) -> dict[str, int]:
    return {name: found.get(name, 0) for name in _NAMES}
