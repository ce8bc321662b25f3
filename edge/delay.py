"""The round trip between an edge and each gateway, smoothed so that what remains of its noise moves nobody. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SMOOTHING = 10.0
"""Seconds: time constant. Until so many have passed all samples weigh the same."""
LEAST_SAMPLES = 10
"""Before which nothing is said: one sample may be far off."""
LEAST_GAP = 0.4
"""Seconds between samples that count."""


@dataclass(slots=True)
class _Mean:
    value: float
    samples: int
    at: float


class DelayMeter:
    """Gateways by node number; one that is not measured any more is forgotten."""

    def __init__(self) -> None:
        self._means: dict[int, _Mean] = {}

    def observe(self, round_trips: Mapping[int, float], now: float) -> None:
        """``round_trips``: milliseconds on the quickest path that packets take now."""
        for gateway in self._means.keys() - round_trips.keys():
            del self._means[gateway]
        for gateway, sample in round_trips.items():
            mean = self._means.get(gateway)
            if mean is None:
                self._means[gateway] = _Mean(sample, 1, now)
            elif (gap := now - mean.at) >= LEAST_GAP:
                mean.samples += 1
                mean.value += (sample - mean.value) * max(1 / mean.samples, 1 - exp(-gap / SMOOTHING))
                mean.at = now

    def delay(self, gateway: int) -> float | None:
        """Milliseconds; None until there are enough samples."""
        mean = self._means.get(gateway)
        return None if mean is None or mean.samples < LEAST_SAMPLES else mean.value
