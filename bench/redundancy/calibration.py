"""Does the 95 % bound of the joint loss hold? Random pairs of paths of which the truth is known.

Each path loses in bursts on its own, and both lose in bursts in common. The same counts go to the estimator that nodes
run, and to the product of the two paths' estimates, which assumes independence and has to fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, log1p
from typing import TYPE_CHECKING

from braid.redundancy.estimate import EPISODE_GAP, Belief, Counts, Kinship, joint_loss, path_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

PACKETS_PER_SECOND = 100
LOSS = (1e-4, 3e-2)
BURST = (1.0, 12.0)
"""Range of the mean length of a burst, in packets."""
COMMON = (
    (0.7, Kinship.DECLARED_DISJOINT, (1e-4, 1e-2)),
    (0.2, Kinship.SHARED, (0.05, 0.4)),
    (0.1, Kinship.UNKNOWN, (0.4, 0.8)),
)
"""Share of the pairs, what is known of them, and range of the share of the smaller loss that is common."""

Burst = tuple[int, int]
"""First packet lost, first one not lost."""


@dataclass(slots=True)
class Coverage:
    packets: int
    pairs: int = 0
    by_bound: int = 0
    """Pairs whose true joint loss is at most the bound."""
    by_product: int = 0
    """At most the product of the paths' estimates."""


def calibrate(pairs: int, checkpoints: Sequence[int], rng: Random) -> list[Coverage]:
    found = [Coverage(packets) for packets in checkpoints]
    for _ in range(pairs):
        kinship, truth, streams = _pair(checkpoints[-1], rng)
        counts = [_counts(stream, checkpoints) for stream in streams]
        for coverage, one, other, both in zip(found, *counts, strict=True):
            beliefs = path_loss(one), path_loss(other)
            coverage.pairs += 1
            coverage.by_bound += truth <= joint_loss(both, *beliefs, kinship).bound
            coverage.by_product += truth <= _product(*beliefs)
    return found


def _product(one: Belief, other: Belief) -> float:
    return one.estimate * other.estimate


def _pair(packets: int, rng: Random) -> tuple[Kinship, float, tuple[list[Burst], list[Burst], list[Burst]]]:
    """What is known, the true joint loss, and the losses of one path, of the other, and of both."""
    one, other = (exp(rng.uniform(log(LOSS[0]), log(LOSS[1]))) for _ in range(2))
    drawn, kinship, (low, high) = rng.random(), COMMON[-1][1], COMMON[-1][2]
    for share, kind, bounds in COMMON:
        if drawn < share:
            kinship, (low, high) = kind, bounds
            break
        drawn -= share
    common = exp(rng.uniform(log(low), log(high))) * min(one, other)
    alone = [(loss - common) / (1 - common) for loss in (one, other)]
    first, second, shared = (list(_bursts(loss, packets, rng)) for loss in (*alone, common))
    truth = common + (1 - common) * alone[0] * alone[1]
    both = _union((*shared, *_intersection(first, second)))
    return kinship, truth, (_union((*first, *shared)), _union((*second, *shared)), both)


def _bursts(loss: float, packets: int, rng: Random) -> Iterator[Burst]:
    """Bursts and gaps of geometric length; on average ``loss`` of the packets."""
    size = rng.uniform(*BURST)
    gap = size * (1 - loss) / loss
    packet = 0 if rng.random() < loss else _geometric(gap, rng)
    while packet < packets:
        end = min(packets, packet + _geometric(size, rng))
        yield packet, end
        packet = end + _geometric(gap, rng)


def _geometric(mean: float, rng: Random) -> int:
    """1, 2, ... with this mean."""
    return 1 if mean <= 1 else 1 + int(log(1 - rng.random()) / log1p(-1 / mean))


def _union(bursts: Iterable[Burst]) -> list[Burst]:
    found: list[Burst] = []
    for begin, end in sorted(bursts):
        if found and begin < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def _intersection(one: Sequence[Burst], other: Sequence[Burst]) -> Iterator[Burst]:
    left = right = 0
    while left < len(one) and right < len(other):
        begin, end = max(one[left][0], other[right][0]), min(one[left][1], other[right][1])
        if begin < end:
            yield begin, end
        if one[left][1] < other[right][1]:
            left += 1
        else:
            right += 1


def _counts(bursts: Sequence[Burst], checkpoints: Sequence[int]) -> list[Counts]:
    found = []
    running = Counts()
    gap = EPISODE_GAP * PACKETS_PER_SECOND
    last = -gap - 1.0
    upcoming = iter((*bursts, (checkpoints[-1], checkpoints[-1])))
    begin, end = next(upcoming)
    for checkpoint in checkpoints:
        while begin < checkpoint:
            if begin - last > gap:
                running.episodes += 1
            running.lost += min(end, checkpoint) - begin
            last = min(end, checkpoint)
            if end > checkpoint:
                begin = checkpoint
                break
            begin, end = next(upcoming)
        found.append(Counts(float(checkpoint), running.lost, running.episodes))
    return found
