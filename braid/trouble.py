"""Which paths and links are worse than they should be, by what was measured: samples in, words out. Pure.

Bad news counts at once, good news when it has held; between the two thresholds nothing changes. The thresholds are
``health`` of the topology file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topology.model import HealthSettings
from topology.steady import Steady

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Mapping

NORMAL_OVER = 600.0
"""Seconds: the normal round trip is the least one of so long. What lasts longer is the new normal."""
_SLOT = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What is measured now; None: not measured."""

    rtt_ms: float | None
    loss: float | None
    broken: bool | None = None
    """It was silent a moment ago, and has not been heard without a break for long enough since."""


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: str
    """"break", "loss" or "delay"."""
    text: str
    """As it is now: ``loses 18 % of its copies``, ``110 ms instead of 10 ms``."""
    since: float
    """As ``now`` of the first bad sample."""


@dataclass(slots=True)
class _State:
    steady: Steady | None = None
    """0: good, 1: bad."""

    def judge(self, bad: bool, good: bool, now: float, settings: HealthSettings) -> None:
        if self.steady is None:
            self.steady = Steady(0.0, now)
        sample = 1.0 if bad else 0.0 if good else self.steady.value
        self.steady.observe(sample, now, 1.0, 1.0, settings)

    @property
    def bad_since(self) -> float | None:
        return self.steady.since if self.steady is not None and self.steady.value else None

    @property
    def relapses(self) -> int:
        return self.steady.relapses if self.steady is not None else 0


@dataclass(slots=True)
class _Subject:
    broken: _State = field(default_factory=_State)
    loss: _State = field(default_factory=_State)
    delay: _State = field(default_factory=_State)
    least: deque[tuple[float, float]] = field(default_factory=deque)
    """Least round trip of each minute, oldest first: when the minute began, milliseconds."""
    seen: Sample = field(default_factory=lambda: Sample(None, None))

    @property
    def is_well(self) -> bool:
        return self.broken.bad_since is None and self.loss.bad_since is None and self.delay.bad_since is None

    def normal(self) -> float:
        return min([value for _, value in self.least])

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

    def __init__(self, settings: HealthSettings | None = None) -> None:
        self.settings = settings or HealthSettings()
        self._subjects: dict[Hashable, _Subject] = {}

    def observe(self, samples: Mapping[Hashable, Sample], now: float, same: Collection[Hashable] = ()) -> None:
        """``same`` are those of which there is nothing new."""
        for gone in self._subjects.keys() - samples.keys() - set(same):
            del self._subjects[gone]
        for key, sample in samples.items():
            subject = self._subjects.get(key)
            if subject is None:
                subject = self._subjects[key] = _Subject()
            self._judge(subject, sample, now)

    def of(self, key: Hashable) -> tuple[Trouble, ...]:
        """What is wrong with it, the worst first."""
        subject = self._subjects.get(key)
        if subject is None or subject.is_well:
            return ()
        found = []
        if subject.broken.bad_since is not None:
            found.append(Trouble("break", f"was interrupted{_again(subject.broken)}", subject.broken.bad_since))
        if subject.loss.bad_since is not None and subject.seen.loss is not None:
            text = f"loses {100 * subject.seen.loss:.2g} % of its copies{_again(subject.loss)}"
            found.append(Trouble("loss", text, subject.loss.bad_since))
        if subject.delay.bad_since is not None and subject.seen.rtt_ms is not None:
            text = f"{subject.seen.rtt_ms:.3g} ms instead of {subject.normal():.3g} ms{_again(subject.delay)}"
            found.append(Trouble("delay", text, subject.delay.bad_since))
        return tuple(found)

    def _judge(self, subject: _Subject, sample: Sample, now: float) -> None:
        limits = self.settings
        if sample.rtt_ms is None or sample.loss is None:
            subject.seen = Sample(
                subject.seen.rtt_ms if sample.rtt_ms is None else sample.rtt_ms,
                subject.seen.loss if sample.loss is None else sample.loss,
            )
        else:
            subject.seen = sample
        if sample.broken is not None:
            subject.broken.judge(sample.broken, not sample.broken, now, limits)
        if sample.loss is not None:
            bad, good = sample.loss >= limits.loss_bad, sample.loss <= limits.loss_good
            subject.loss.judge(bad, good, now, limits)
        if sample.rtt_ms is not None:
            subject.remember(sample.rtt_ms, now)
            normal = subject.normal()
            more = sample.rtt_ms - normal
            bad = _exceeds(more, normal, limits.delay_bad, limits.delay_bad_ms)
            good = not _exceeds(more, normal, limits.delay_good, limits.delay_good_ms)
            subject.delay.judge(bad, good, now, limits)


def _exceeds(more: float, normal: float, share: float, least: float) -> bool:
    return more >= share * normal and more >= least


def _again(state: _State) -> str:
    """Good news of what flaps is held back for longer: that is said."""
    return f", flaps: relapse {state.relapses}" if state.relapses else ""
