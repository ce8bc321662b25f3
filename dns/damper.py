"""Standings that clients may be moved by: worse ones are believed soon, better ones late. Pure.

Clients that were sent away are called back when their edge has been well for ``HOLD``; an edge that comes and goes
more often than that stays a second choice. Until then it is ``HOLDING``, which is still better than ``DEGRADED``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from dns.policy import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOLD = 10.0
"""Seconds that an edge must be well before it is preferred again."""
PATIENCE = 1.5
"""Seconds that fewer paths or too much load must last: three reports. Being down or draining is believed at once."""

Key = TypeVar("Key")


@dataclass(slots=True)
class _Pair:
    shown: Standing
    reported: Standing
    since: float
    """When ``reported`` began."""
    news: float | None = None
    """When the news came that it is so; None when none did."""


def _no_news(_key: object) -> None:
    return None


class Damper(Generic[Key]):
    def __init__(self) -> None:
        self._pairs: dict[Key, _Pair] = {}
        self.restless = False
        """Whether time alone will change what was settled last."""

    def settle(
        self, reported: Mapping[Key, Standing], now: float, news: Callable[[Key], float | None] = _no_news
    ) -> dict[Key, Standing]:
        """Returns what to act on; what is seen for the first time is taken as it is, what is missing is forgotten.
        ``news`` is asked for what is reported differently than before: when that became known."""
        known, self._pairs = self._pairs, {}
        for key, standing in reported.items():
            pair = known.get(key)
            if pair is None:
                pair = _Pair(standing, standing, now)
            elif pair.reported is not standing:
                pair.reported, pair.since, pair.news = standing, now, news(key)
            pair.shown = _next(pair, now)
            self._pairs[key] = pair
        self.restless = any(pair.shown is not pair.reported for pair in self._pairs.values())
        return {key: pair.shown for key, pair in self._pairs.items()}

    def news(self, key: Key, standing: Standing) -> float | None:
        """When the news came for which ``standing`` is acted on; None when something else is, or no news came."""
        pair = self._pairs.get(key)
        return pair.news if pair is not None and pair.shown is pair.reported is standing else None


def _next(pair: _Pair, now: float) -> Standing:
    shown, reported, lasted = pair.shown, pair.reported, now - pair.since
    if reported is shown or not reported.works:
        return reported
    if reported is Standing.UP:
        # Draining is a decision, not a failure: whoever takes it back wants the clients.
        return Standing.UP if lasted >= HOLD or shown is Standing.DRAINING else Standing.HOLDING
    if not shown.works or lasted >= PATIENCE:
        return reported
    return shown
