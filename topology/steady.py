"""A value that stands still while what is measured only wavers: worse at once, better when it has held. Pure.

Larger is worse. What gets bad again soon after it got better has to hold for longer the next time: it is damped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import HealthSettings

RELAPSE = 2.0
"""Holds within which getting worse after getting better is a relapse."""
RISING = 0.25
"""Of a drift: what has jumped is followed further while each sample is worse than the one before by so much. A smoothed
measurement takes some samples for a step; held at half of it, it would stay there for the hold."""


@dataclass(slots=True)
class Steady:
    value: float
    since: float
    """When it became what it is; seconds, as ``now``."""
    relapses: int = 0
    """In a row; 0 is what does not flap."""
    _side: int = 0
    _began: float = 0.0
    _nearest: float = 0.0
    _bettered: float | None = None
    _rising: bool = False

    def observe(self, sample: float, now: float, jump: float, drift: float, settings: HealthSettings) -> bool:
        """Take in a sample; True if the value is another one now.

        It follows at once what is worse by ``jump``, and on as long as that grows; and what differs by ``drift`` either
        way when it has done so without a break for the hold: of these samples the nearest to the value counts.
        """
        gap = sample - self.value
        if gap >= jump or (self._rising and gap > RISING * drift):
            return self._worsen(sample, now, settings)
        self._rising = False
        side = (gap >= drift) - (gap <= -drift)
        if side == 0 or side != self._side:
            self._side, self._began, self._nearest = side, now, sample
            return False
        self._nearest = min(self._nearest, sample) if side > 0 else max(self._nearest, sample)
        if now - self._began < (settings.hold if side > 0 else self.hold(settings)):
            return False
        self._settle(self._nearest, now)
        if side < 0:
            self._bettered = now
        return True

    def hold(self, settings: HealthSettings) -> float:
        """Seconds for which better samples must come before they are believed."""
        doubled: float = settings.hold * 2.0 ** min(self.relapses, 16)
        return min(doubled, settings.longest_hold)

    def _worsen(self, sample: float, now: float, settings: HealthSettings) -> bool:
        if self._bettered is not None:
            soon = now - self._bettered < RELAPSE * self.hold(settings)
            self.relapses = self.relapses + 1 if soon else 0
            self._bettered = None
        self._settle(sample, now)
        self._rising = True
        return True

    def _settle(self, value: float, now: float) -> None:
        self.value, self.since, self._side = value, now, 0
