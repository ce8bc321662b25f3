"""Which of the candidate paths to use: the cheapest set that is good enough, or in trouble the most diverse ones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from topology.policy import MOST_STEADY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from braid.redundancy.losses import Losses

LOOKED_AT = 8
"""Candidates among which steady sets are sought."""
THIRD_COPY = 0.3
"""What each copy beyond the second is credited with, times the joint loss of the best two. From pairs alone the joint
loss of three paths does not follow; independence would be a median ten times too good."""
QUIET_LOSS = 0.01
"""Losses below this do not decide which paths are used in trouble."""
STICKY = 2.0
"""A path in use is kept in trouble unless it loses so many times as much as another."""


@dataclass(frozen=True, slots=True)
class Fit:
    paths: tuple[int, ...]
    estimate: float
    bound: float


def set_loss(losses: Losses, paths: Sequence[int]) -> Fit:
    """Joint loss of a set, as choices are made by."""
    if len(paths) == 1:
        belief = losses.path(paths[0])
        return Fit(tuple(paths), belief.estimate, belief.bound)
    beliefs = [losses.pair(one, other) for one, other in combinations(paths, 2)]
    factor = THIRD_COPY ** (len(paths) - 2)
    best = min(belief.estimate for belief in beliefs)
    return Fit(tuple(paths), best * factor, min(belief.bound for belief in beliefs) * factor)


def steady_set(losses: Losses, usable: Iterable[int], using: frozenset[int], fewest: int, target: float) -> Fit | None:
    """The cheapest set of as few paths as possible that meets the target; None when none does.

    To keep the paths in use, and to add to them, the estimate must meet it; to give one up, the bound.
    """
    alarmed = losses.alarmed
    order = sorted(usable, key=lambda path: (path in alarmed, losses.candidates[path].cost, path))[:LOOKED_AT]
    for count in range(fewest, min(MOST_STEADY, len(order)) + 1):
        if len(using) == count and using <= set(order):
            kept = set_loss(losses, sorted(using))
            if kept.estimate <= target and not using & alarmed:
                return kept
        for paths in sorted(combinations(order, count), key=lambda paths: _cost(losses, paths, alarmed)):
            fit = set_loss(losses, paths)
            loss = fit.estimate if using <= set(paths) else fit.bound
            if loss <= target:
                return fit
    return None


def cheapest_apart(losses: Losses, usable: Iterable[int], count: int) -> tuple[int, ...]:
    """The cheapest paths, as far as possible without anything in common."""
    left = sorted(usable, key=lambda path: (losses.candidates[path].cost, path))
    chosen: list[int] = []
    while left and len(chosen) < count:
        chosen.append(min(left, key=lambda path: _common(losses, path, chosen)))
        left.remove(chosen[-1])
    return tuple(sorted(chosen))


def most_diverse(losses: Losses, usable: Iterable[int], using: frozenset[int], count: int) -> tuple[int, ...]:
    """The paths that lose least now; of those that lose alike, such as have the fewest elements in common."""
    worth: dict[int, float] = {}
    for path in usable:
        loss = max(losses.path(path).estimate, QUIET_LOSS)
        worth[path] = loss / STICKY if path in using else loss
    chosen: list[int] = []
    while worth and len(chosen) < count:
        best = min(worth, key=lambda path: (worth[path] * (1 + _common(losses, path, chosen)), path))
        chosen.append(best)
        del worth[best]
    return tuple(sorted(chosen))


def _common(losses: Losses, path: int, chosen: Iterable[int]) -> int:
    """Chosen paths that share something with this one."""
    groups = losses.candidates[path].groups
    return sum(not groups.isdisjoint(losses.candidates[other].groups) for other in chosen)


def _cost(losses: Losses, paths: Sequence[int], alarmed: frozenset[int]) -> tuple[int, float]:
    return len(alarmed.intersection(paths)), sum(losses.candidates[path].cost for path in paths)
