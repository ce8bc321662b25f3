"""Is something wrong with a path right now: a CUSUM test (Page 1954) of 5 % loss against 0.2 %, and a hold after it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

GOOD, BAD = 0.002, 0.05
LOSS = log(BAD / GOOD)
ARRIVAL = log((1 - BAD) / (1 - GOOD))
MOST_LOSSES = 2
"""That count in one tick: a burst of a few milliseconds is no alarm."""
MOST_OF_MANY, MANY, MUCH = 3, 50, 0.3
"""So many count where this share of so many packets is lost: two such ticks in a row are an alarm, one is not."""
THRESHOLD, THRESHOLD_PROBES = 12.0, 9.0
"""With data, and on probes alone, which are few."""
HOLD, LONGEST_HOLD = 10.0, 120.0
"""Seconds for which an alarm stays on after the last evidence; doubled when it comes back within ``RELAPSE``."""
RELAPSE = 60.0
CALM = 0.4
"""Share of the hold after which less care is enough."""


@dataclass(slots=True)
class Alarm:
    score: float = 0.0
    on: bool = False
    hold: float = HOLD
    since: float = -inf
    evidence: float = -inf
    """When a loss last kept the score above the threshold."""
    ended: float = -inf

    def calm(self, now: float) -> bool:
        """Whether a good part of the hold has passed without evidence."""
        return now >= self.evidence + CALM * self.hold

    def observe(self, sent: float, lost: float, now: float, *, data: bool) -> bool:
        """Counts of a tick, or of a longer time without losses. True when the alarm is new."""
        threshold = THRESHOLD if data else THRESHOLD_PROBES
        most = MOST_OF_MANY if sent >= MANY and lost >= MUCH * sent else MOST_LOSSES
        score = self.score + min(lost, most) * LOSS + (sent - lost) * ARRIVAL
        self.score = min(max(score, 0.0), 2 * threshold)
        if lost and self.score >= threshold:
            self.evidence = now
            if not self.on:
                relapsed = now - self.ended < RELAPSE
                self.hold = min(2 * self.hold, LONGEST_HOLD) if relapsed else HOLD
                self.on, self.since = True, now
                return True
        else:
            self.handle_timeout(now)
        return False

    def handle_timeout(self, now: float) -> None:
        if now >= self.next_timeout():
            self.on, self.ended, self.score = False, now, 0.0

    def next_timeout(self) -> float:
        """When it ends if there is no more evidence."""
        return self.evidence + self.hold if self.on else inf
