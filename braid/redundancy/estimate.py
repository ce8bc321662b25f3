"""Loss of a path and joint loss of two: an estimate and a 95 % upper bound from counts.

Packets are not independent samples, because losses come in bursts: losses less than a second apart are one episode, and
the mean size of an episode says how much a packet is worth as evidence. A prior stands for what is believed before
anything was counted. That two paths lose independently is never assumed: the prior of a pair adds to the product of
both losses a share that they may have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import exp, inf, sqrt

EPISODE_GAP = 1.0
"""Seconds without a loss that end an episode."""
MEMORY = 1800.0
"""Seconds after which a count weighs 1/e."""
PATH_PRIOR = 2e-3
PSEUDO_LOSSES = 3.0
"""One episode of so many packets is imagined, so that few losses do not look like single ones."""
Z95 = 1.645
DOUBT = 0.2
"""Added to it as soon as there are losses: their episodes' size is estimated from the same few counts. Without it the
bound held for 94 % of the pairs of ``bench.redundancy.calibration``."""


class Kinship(float, Enum):
    """The share of the smaller of two paths' losses that is believed to hit both at once, before it was counted."""

    DECLARED_DISJOINT = 0.02
    SHARED = 0.3
    """They have a provider or a region in common at one end."""
    UNKNOWN = 0.6
    """What was measured between random relays (Andersen et al., Best-path vs. multi-path overlay routing, IMC 2003)."""


@dataclass(slots=True)
class Counts:
    """Packets and losses, both fading over ``MEMORY``."""

    sent: float = 0.0
    lost: float = 0.0
    episodes: float = 0.0
    moments: float = 0.0
    """Reports with a loss in them."""
    last_loss: float = -inf

    def add(self, sent: float, lost: float, now: float) -> None:
        self.sent += sent
        if lost:
            self.lost += lost
            self.moments += 1
            if now - self.last_loss > EPISODE_GAP:
                self.episodes += 1
            self.last_loss = now

    def fade(self, seconds: float) -> None:
        kept = exp(-seconds / MEMORY)
        self.sent *= kept
        self.lost *= kept
        self.episodes *= kept
        self.moments *= kept


@dataclass(frozen=True, slots=True)
class Belief:
    estimate: float
    bound: float
    """95 % upper bound."""


def believe(counts: Counts, prior: float) -> Belief:
    """Gamma posterior with the prior's weight of half an episode (Jeffreys), in units of episodes."""
    size = max(1.0, (counts.lost + PSEUDO_LOSSES) / (counts.episodes + 1))
    worth = 2 * size - 1
    """Packets per independent sample: E[size^2] / E[size] of geometric episodes."""
    seen = 0.5 * worth / prior + counts.sent
    shape = 0.5 + counts.lost / worth
    z = Z95 + DOUBT if counts.lost else Z95
    return Belief(min(1.0, worth * shape / seen), min(1.0, worth * _quantile(shape, z) / seen))


def path_loss(counts: Counts) -> Belief:
    return believe(counts, PATH_PRIOR)


def joint_loss(counts: Counts, one: Belief, other: Belief, kinship: Kinship) -> Belief:
    """Of two paths with these losses; ``counts`` are of packets that were sent on both, lost on both."""
    return believe(counts, joint_prior(counts, one, other, kinship))


def joint_prior(counts: Counts, one: Belief, other: Belief, kinship: Kinship) -> float:
    """What is believed before counting; given up as far as the counts contradict it."""
    prior = _prior(one, other, kinship)
    if counts.episodes >= 2 and counts.lost > 3 * prior * counts.sent + 2:
        prior = _prior(one, other, Kinship.UNKNOWN)
    if counts.episodes >= 4:
        prior = max(prior, counts.lost / counts.sent)
    return prior


def missing(counts: Counts, prior: float, target: float) -> float:
    """How many packets more, none lost on both, bring the bound down to ``target``."""
    bound = believe(counts, prior).bound
    seen = 0.5 * (2 * max(1.0, (counts.lost + PSEUDO_LOSSES) / (counts.episodes + 1)) - 1) / prior + counts.sent
    return max(0.0, seen * (bound / target - 1))


def _prior(one: Belief, other: Belief, kinship: Kinship) -> float:
    return min(1.0, one.bound * other.bound + float(kinship) * min(one.bound, other.bound))


def _quantile(shape: float, z: float) -> float:
    """Of the gamma distribution with scale 1 (Wilson and Hilferty 1931)."""
    root = 1 - 1 / (9 * shape) + z / (3 * sqrt(shape))
    return shape * root**3 if root > 0 else 0.0
