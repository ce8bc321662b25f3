"""Measurements that stand still while nothing changes that matters. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from topology.steady import Steady

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from topology.model import HealthSettings


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured now, one way; None: not measured."""

    delay_ms: float | None = None
    loss: float | None = None
    """0 to 1."""


@dataclass(slots=True)
class _Subject:
    heard: float
    delay: Steady | None = None
    loss: Steady | None = None
    latest: Measure = field(default_factory=Measure)
    """The sample before: bad news must be in two in a row, so that a single lost probe is none."""


Key = TypeVar("Key", bound="Hashable")


class Held(Generic[Key]):
    """Measures that stand still while nothing changes that matters, by a key of the caller's."""

    def __init__(self, kept: float, settings: HealthSettings) -> None:
        self._kept = kept
        self._settings = settings
        self._subjects: dict[Key, _Subject] = {}

    def observe(self, measures: Mapping[Key, Measure], now: float) -> set[Key]:
        """Returns those of which something is another than before, or that are forgotten."""
        changed = set()
        for key, measure in measures.items():
            subject = self._subjects.get(key)
            if subject is None:
                subject = self._subjects[key] = _Subject(now)
            delay = measure.delay_ms is not None and self._delay(subject, measure.delay_ms, now)
            loss = measure.loss is not None and self._loss(subject, measure.loss, now)
            subject.heard, subject.latest = now, measure
            if delay or loss:
                changed.add(key)
        gone = {key for key, subject in self._subjects.items() if now - subject.heard > self._kept}
        for key in gone:
            del self._subjects[key]
        return changed | gone

    def take_over(self, before: Held[Key]) -> None:
        self._subjects = before._subjects

    def keep(self, wanted: Callable[[Key], bool]) -> None:
        """Forgets all others."""
        self._subjects = {key: subject for key, subject in self._subjects.items() if wanted(key)}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._subjects)

    def latest(self, key: Key) -> Measure:
        """As it was measured last."""
        subject = self._subjects.get(key)
        return subject.latest if subject else Measure()

    def __getitem__(self, key: Key) -> Measure:
        subject = self._subjects.get(key)
        if subject is None:
            return Measure()
        return Measure(subject.delay.value if subject.delay else None, subject.loss.value if subject.loss else None)

    def relapses(self, key: Key) -> int:
        subject = self._subjects.get(key)
        states = (subject.delay, subject.loss) if subject else ()
        return max((state.relapses for state in states if state), default=0)

    def _delay(self, subject: _Subject, delay: float, now: float) -> bool:
        if subject.delay is None:
            subject.delay = Steady(delay, now)
            return True
        limits, value = self._settings, abs(subject.delay.value)
        sample = _confirmed(delay, subject.latest.delay_ms, subject.delay.value)
        jump = max(limits.delay_bad * value, limits.delay_bad_ms)
        drift = max(limits.delay_good * value, limits.delay_good_ms)
        return subject.delay.observe(sample, now, jump, drift, limits)

    def _loss(self, subject: _Subject, loss: float, now: float) -> bool:
        begins = subject.loss is None
        if subject.loss is None:
            subject.loss = Steady(0.0, now)
        limits, value = self._settings, subject.loss.value
        # At 20 % of loss, 21 % is no news.
        jump, drift = max(limits.loss_bad, value / 2), max(limits.loss_good, value / 4)
        sample = _confirmed(loss, subject.latest.loss, value)
        return subject.loss.observe(sample, now, jump, drift, limits) or begins


def _confirmed(sample: float, before: float | None, value: float) -> float:
    """Of two samples in a row the better one, as far as they are worse than the value."""
    return sample if sample <= value else max(value, min(sample, value if before is None else before))
