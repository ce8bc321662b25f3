"""From trials to figures: how much of the gap between one path and all paths is closed, at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from bench.redundancy.trial import FLOOD, SINGLE, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    """95 % by bootstrap over seeds."""
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    scheme: str
    lost_ppm: float
    gap_closed: Interval
    """Percent; 0 is one path, 100 all paths."""
    cost: Interval
    """Copies against two, percent."""
    changes_per_hour: float


def lines(trials: Sequence[Trial]) -> list[Line]:
    found = []
    for scheme in trials[0].tallies:
        hours = sum(trial.hours for trial in trials)
        changes = sum(trial.tallies[scheme].changes for trial in trials)
        found.append(
            Line(
                scheme,
                1e6 * _lost(trials, scheme),
                _interval(trials, partial(_gap, scheme)),
                _interval(trials, partial(_cost, scheme)),
                changes / hours,
            )
        )
    return found


def table(found: Sequence[Line]) -> list[str]:
    rows = [f"  {'scheme':22} {'lost ppm':>9}  {'gap closed %':>26}  {'cost over two copies %':>28}  {'changes/h':>9}"]
    rows += [
        f"  {line.scheme:22} {line.lost_ppm:9.1f}  {_shown(line.gap_closed):>26}  {_shown(line.cost, '+'):>28}"
        f"  {line.changes_per_hour:9.1f}"
        for line in found
    ]
    return rows


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.value:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def _lost(trials: Sequence[Trial], scheme: str) -> float:
    return _sum(trials, scheme, "lost") / _sum(trials, scheme, "packets")


def _gap(scheme: str, trials: Sequence[Trial]) -> float:
    worst, best = _lost(trials, SINGLE), _lost(trials, FLOOD)
    return 100 * (worst - _lost(trials, scheme)) / (worst - best) if worst > best else 100.0


def _cost(scheme: str, trials: Sequence[Trial]) -> float:
    return 100 * (_sum(trials, scheme, "copies") / _sum(trials, scheme, "packets") / 2 - 1)


def _sum(trials: Sequence[Trial], scheme: str, what: str) -> int:
    return sum(getattr(trial.tallies[scheme], what) for trial in trials)


def _interval(trials: Sequence[Trial], figure: Callable[[Sequence[Trial]], float]) -> Interval:
    rng = Random(1)
    values = sorted(figure(rng.choices(trials, k=len(trials))) for _ in range(RESAMPLES))
    return Interval(figure(trials), values[int(0.025 * RESAMPLES)], values[int(0.975 * RESAMPLES) - 1])
