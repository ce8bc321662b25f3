"""What can be said of an application's target, in words that a status page shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

from braid.redundancy.estimate import joint_prior, missing
from braid.redundancy.losses import LEAST_SEEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from braid.redundancy.losses import Losses
    from topology.policy import TargetLoss

TOGETHER = 0.3
"""P(both lost | one lost) above which two paths are not diverse."""


class Word(StrEnum):
    MET = "MET"
    NOT_PROVABLE_YET = "NOT PROVABLE YET"
    BEST_EFFORT = "BEST EFFORT"
    BUDGET = "BUDGET"
    NOT_DIVERSE = "NOT DIVERSE"


@dataclass(frozen=True, slots=True)
class Verdict:
    word: Word
    text: str
    """The word with its reason: ``NOT PROVABLE YET (needs 85000 packets, about 14 min)``."""
    estimate: float
    bound: float
    """95 % upper bound of the joint loss of the paths in use."""


def judge(
    losses: Losses, policy: TargetLoss, using: Sequence[int], packets_per_second: float, *, limited: bool
) -> Verdict:
    """``limited``: the budget keeps copies back that trouble asks for."""
    estimate, bound, needed, seen = _claims(losses, policy, using)
    together = _not_diverse(losses, using)

    def verdict(word: Word, reason: str = "") -> Verdict:
        return Verdict(word, f"{word} ({reason})" if reason else word, estimate, bound)

    if limited:
        return verdict(Word.BUDGET, f"{trouble(losses)}; copies are limited until the budget recovers")
    if bound <= policy.target and not losses.alarmed.intersection(using):
        return verdict(Word.MET)
    if together:
        remedy = "try another path" if policy.spread else "try another path, or spread"
        return verdict(Word.NOT_DIVERSE, f"shared: {together}; {remedy}")
    if losses.alarmed.intersection(using) or (seen and estimate > policy.target):
        return verdict(Word.BEST_EFFORT, trouble(losses))
    if needed == inf or packets_per_second <= 0:
        return verdict(Word.NOT_PROVABLE_YET, "no packets to count")
    return verdict(Word.NOT_PROVABLE_YET, f"needs {needed:.0f} packets, about {_duration(needed / packets_per_second)}")


def trouble(losses: Losses) -> str:
    """The cause in words: what the paths in trouble have in common and the others have not, where there is such."""
    alarmed = losses.alarmed
    if not alarmed:
        return "loss on all paths in use"
    worst = max(losses.recent(path) for path in alarmed)
    counted = f"loss {worst:.0%} on {len(alarmed)} of {len(losses.candidates)} paths"
    common = frozenset.intersection(*(losses.candidates[path].groups for path in alarmed))
    others = [candidate.groups for path, candidate in losses.candidates.items() if path not in alarmed]
    cause = sorted(group for group in common if not all(group in groups for groups in others)) or sorted(common)
    return f"{counted} at {', '.join(cause)}" if cause and len(alarmed) > 1 else counted


def _claims(losses: Losses, policy: TargetLoss, using: Sequence[int]) -> tuple[float, float, float, bool]:
    """Estimate, bound, packets still needed, and whether all copies of a packet were ever lost: of the best two paths.

    What more than two achieve together does not follow from pairs, so it is not claimed.
    """
    if len(using) == 1:
        belief = losses.path(using[0])
        return belief.estimate, belief.bound, inf, True
    best = (inf, inf, inf, False)
    for one, other in combinations(using, 2):
        belief, counts, kinship = losses.claim(one, other, vouched=policy.diverse)
        prior = joint_prior(counts, losses.path(one), losses.path(other), kinship)
        needed = missing(counts, prior, policy.target)
        best = min(best, (belief.bound, belief.estimate, needed, counts.lost > LEAST_SEEN))
    bound, estimate, needed, seen = best
    return estimate, bound, needed, seen


def _not_diverse(losses: Losses, using: Iterable[int]) -> str:
    """What two paths in use share that lose together too often; empty when none do."""
    for one, other in combinations(sorted(using), 2):
        together = losses.together(one, other)
        if together is not None and together > TOGETHER:
            common = losses.candidates[one].groups & losses.candidates[other].groups
            element = ", ".join(sorted(common)) or "something that the topology does not name"
            return f"{element}, {together:.0%} of the losses hit both"
    return ""


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
