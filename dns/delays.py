"""Which delays answers follow: measured ones, but not each breath of them. Pure.

Clients that are sent elsewhere keep old answers for long and lose what they have open when they follow, so a delay
that is a little better is no reason. What is *settled* for an application stays until what is measured would mean
another choice, clearly and for ``HOLD``; then all its edges are settled anew together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_GAIN = 10.0
"""Milliseconds, and ..."""
LEAST_SHARE = 1 / 3
"""... of the delay: what another edge must be better by at least."""
CLOSE = (5.0, 1 / 6)
"""Milliseconds, share of the delay: from this difference down edges that were told apart are equals again."""
HOLD = 10.0
"""Seconds that the measurements must disagree with what is settled."""
STILL = (1.0, 0.05)
"""Milliseconds, share of the delay: changes that are not looked into."""

Delays = dict[str, float]
"""Edge -> milliseconds."""


def clearly_better(delay: float, than: float) -> bool:
    return than - delay >= LEAST_GAIN and than - delay >= LEAST_SHARE * than


@dataclass(slots=True)
class _Application:
    settled: Delays = field(default_factory=dict)
    since: float | None = None
    """Since when the measurements mean another choice."""


class Settler:
    def __init__(self) -> None:
        self._applications: dict[str, _Application] = {}

    def settle(self, measured: Mapping[str, Mapping[str, float | None]], now: float) -> dict[str, Delays]:
        """``measured``: application -> each of its edges -> milliseconds. Returns what to act on. An edge that is
        measured for the first time is taken as it is, one that is not measured any more (None) keeps its last delay;
        what is missing is forgotten."""
        self._applications = {name: self._applications.get(name) or _Application() for name in measured}
        known: dict[tuple[tuple[tuple[str, float], ...], ...], bool] = {}
        for name, found in measured.items():
            state = self._applications[name]
            fresh = {edge: delay for edge, delay in found.items() if delay is not None}
            settled = {edge: state.settled.get(edge, fresh.get(edge)) for edge in found}
            state.settled = {edge: delay for edge, delay in settled.items() if delay is not None}
            # Applications behind the same gateways have the same delays.
            key = (tuple(state.settled.items()), tuple(fresh.items()))
            if key not in known:
                known[key] = _disagree(state.settled, fresh)
            if not known[key]:
                state.since = None
            elif state.since is None:
                state.since = now
            elif now - state.since >= HOLD:
                state.settled, state.since = {**state.settled, **fresh}, None
        return {name: dict(state.settled) for name, state in self._applications.items()}


def _disagree(settled: Mapping[str, float], fresh: Mapping[str, float]) -> bool:
    """Whether another choice between two edges would be right, wherever a client is."""
    if all(abs(delay - settled[edge]) < max(STILL[0], STILL[1] * settled[edge]) for edge, delay in fresh.items()):
        return False
    return any(
        _turned(settled[a], settled[b], fresh[a], fresh[b]) or _turned(settled[b], settled[a], fresh[b], fresh[a])
        for a, b in combinations(fresh, 2)
    )


def _turned(settled: float, other_settled: float, fresh: float, other_fresh: float) -> bool:
    if clearly_better(fresh, other_fresh) and not clearly_better(settled, other_settled):
        return True
    apart = other_fresh - fresh
    if clearly_better(settled, other_settled) and apart < max(CLOSE[0], CLOSE[1] * other_fresh):
        return True
    # With the way to the client added, a turn between them may be clear that is not here.
    moved = abs(apart - (other_settled - settled))
    return moved >= max(LEAST_GAIN, LEAST_SHARE * max(settled, other_settled, fresh, other_fresh))
