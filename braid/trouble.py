"""Which paths and links are worse than they should be, by what was measured: samples in, words out. Pure.

Bad news counts at once, good news when it has held; between the two thresholds nothing changes. The numbers are those
of Spines (research: "problem thresholds").
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

NORMAL_OVER = 600.0
"""Seconds: the normal round trip is the least one of so long. What lasts longer is the new normal."""
_SLOT = 60.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Shares are 0 to 1, delays milliseconds, times seconds."""

    loss_bad: float = 0.02
    loss_good: float = 0.005
    delay_bad: tuple[float, float] = (0.25, 5.0)
    """By this share of the normal round trip, and by at least so many milliseconds, above it."""
    delay_good: tuple[float, float] = (0.15, 3.0)
    hold: float = 30.0
    """Good news is believed after this."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is measured now; None: not measured."""

    rtt_ms: float | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: str
    """"loss" or "delay"."""
    text: str
    """As it is now: ``loses 18 % of its copies``, ``110 ms instead of 10 ms``."""
    since: float
    """As ``now`` of the first bad sample."""


@dataclass(slots=True)
class _State:
    bad_since: float | None = None
    good_since: float | None = None

    def judge(self, bad: bool, good: bool, hold: float, now: float) -> None:
        if bad:
            self.good_since = None
            self.bad_since = now if self.bad_since is None else self.bad_since
        elif self.bad_since is None:
            return
        elif not good:
            self.good_since = None
        else:
            self.good_since = now if self.good_since is None else self.good_since
            if now - self.good_since >= hold:
                self.bad_since = self.good_since = None


@dataclass(slots=True)
class _Subject:
    loss: _State = field(default_factory=_State)
    delay: _State = field(default_factory=_State)
    least: deque[tuple[float, float]] = field(default_factory=deque)
    """Least round trip of each minute, oldest first: when the minute began, milliseconds."""
    seen: Sample = field(default_factory=lambda: Sample(None, None))

    def normal(self) -> float:
        return min(value for _, value in self.least)

    def remember(self, rtt: float, now: float) -> None:
        if self.least and now - self.least[-1][0] < _SLOT:
            began, least = self.least[-1]
            self.least[-1] = (began, min(least, rtt))
        else:
            self.least.append((now, rtt))
        while now - self.least[0][0] > NORMAL_OVER:
            self.least.popleft()


class Troubles:
    """Follows any number of subjects by a key of the caller's; one that is not among the samples is forgotten."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds or Thresholds()
        self._subjects: dict[Hashable, _Subject] = {}

    def observe(self, samples: Mapping[Hashable, Sample], now: float) -> None:
        for gone in self._subjects.keys() - samples.keys():
            del self._subjects[gone]
        for key, sample in samples.items():
            self._judge(self._subjects.setdefault(key, _Subject()), sample, now)

    def of(self, key: Hashable) -> tuple[Trouble, ...]:
        """What is wrong with it, the worst first."""
        subject = self._subjects.get(key)
        if subject is None:
            return ()
        found = []
        if subject.loss.bad_since is not None and subject.seen.loss is not None:
            text = f"loses {100 * subject.seen.loss:.2g} % of its copies"
            found.append(Trouble("loss", text, subject.loss.bad_since))
        if subject.delay.bad_since is not None and subject.seen.rtt_ms is not None:
            text = f"{subject.seen.rtt_ms:.3g} ms instead of {subject.normal():.3g} ms"
            found.append(Trouble("delay", text, subject.delay.bad_since))
        return tuple(found)

    def _judge(self, subject: _Subject, sample: Sample, now: float) -> None:
        limits = self._thresholds
        subject.seen = Sample(
            subject.seen.rtt_ms if sample.rtt_ms is None else sample.rtt_ms,
            subject.seen.loss if sample.loss is None else sample.loss,
        )
        if sample.loss is not None:
            bad, good = sample.loss >= limits.loss_bad, sample.loss <= limits.loss_good
            subject.loss.judge(bad, good, limits.hold, now)
        if sample.rtt_ms is not None:
            subject.remember(sample.rtt_ms, now)
            more, normal = sample.rtt_ms - subject.normal(), subject.normal()
            bad = _exceeds(more, normal, limits.delay_bad)
            subject.delay.judge(bad, not _exceeds(more, normal, limits.delay_good), limits.hold, now)


def _exceeds(more: float, normal: float, limit: tuple[float, float]) -> bool:
    share, least = limit
    return more >= share * normal and more >= least
