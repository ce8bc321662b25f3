"""Which of a node's paths lose the same probes: counts of the core in, joint loss and what it costs out. Pure.

A probe goes out on all candidate paths at once, so what two of them lost of the same probes is counted, not inferred.
Two paths are charged for being in one set when they lost more together than two independent ones would.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import combinations
from math import exp
from typing import TYPE_CHECKING, Any

from topology.costs import pair_cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topology.model import Topology

WINDOW = 600.0
"""Seconds that counts look back, in steps of ``STEP``."""
STEP = 10.0
CHANCE = 1e-3
"""So improbable must what two paths lost together be for independent ones."""
LEAST_MOMENTS = 2
"""Looks with joint losses: two bursts that met once are an accident."""

LEAST_PROBES = 300
"""As if spread over so many: early losses must not look like many."""

Route = tuple[int, ...]
PathPair = tuple[int, Route, Route]
"""Peer, and two routes to it; the lesser one first."""
RegionPair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    probes: int = 0
    both: int = 0
    """Lost on both."""
    one: int = 0
    other: int = 0
    """Lost on each."""
    moments: int = 0

    def __sub__(self, before: Counts) -> Counts:
        return Counts(
            self.probes - before.probes,
            self.both - before.both,
            self.one - before.one,
            self.other - before.other,
            self.moments - before.moments,
        )

    @property
    def loss(self) -> float | None:
        return self.both / self.probes if self.probes else None

    @property
    def excess(self) -> float:
        """Share lost together beyond what independent paths would lose; 0 while that may be chance."""
        if self.moments < LEAST_MOMENTS or not self.probes:
            return 0.0
        expected = self.one * self.other / self.probes
        if _at_least(self.both, expected) > CHANCE:
            return 0.0
        return (self.both - expected) / max(self.probes, LEAST_PROBES)


@dataclass(slots=True)
class _Pair:
    now: Counts = field(default_factory=Counts)
    looks: deque[tuple[float, Counts]] = field(default_factory=deque)

    def add(self, probes: int, both: int, one: int, other: int, now: float) -> None:
        if probes < self.now.probes or both < self.now.both:
            self.now = Counts()
            self.looks.clear()
        moments = self.now.moments + (both > self.now.both)
        self.now = Counts(probes, both, one, other, moments)
        if not self.looks or now - self.looks[-1][0] >= STEP:
            self.looks.append((now, self.now))
        while now - self.looks[0][0] > WINDOW:
            self.looks.popleft()

    @property
    def lately(self) -> Counts:
        oldest = self.looks[0][1] if self.looks else Counts()
        # A young pair has no look before its first losses.
        return self.now - oldest if oldest.probes > STEP * 20 else self.now


class JointLosses:
    def __init__(self) -> None:
        self._pairs: dict[PathPair, _Pair] = {}
        self._charged: dict[RegionPair, float] = {}
        self._observed = -STEP
        self._lost = 0

    def observe(self, snapshot: Mapping[str, Any], now: float) -> None:
        """The core's snapshot. Pairs that it does not hold any more are forgotten when their window is over. While none
        loses anything together, a look in each step is enough."""
        lost = sum([entry["both_lost"] for entry in snapshot.get("pairs", ())])
        if lost == self._lost and now - self._observed < STEP:
            return
        self._observed, self._lost = now, lost
        paths = {(entry["peer"], entry["id"]): entry for entry in snapshot.get("paths", ()) if entry.get("probes")}
        for entry in snapshot.get("pairs", ()):
            one, other = paths.get((entry["peer"], entry["a"])), paths.get((entry["peer"], entry["b"]))
            if one is None or other is None:
                continue
            first, second = (one, other) if one["route"] < other["route"] else (other, one)
            key = (entry["peer"], tuple(first["route"]), tuple(second["route"]))
            pair = self._pairs.get(key)
            if pair is None:
                pair = self._pairs[key] = _Pair()
            pair.add(entry["probes"], entry["both_lost"], first["probes_lost"], second["probes_lost"], now)
        for key in [key for key, pair in self._pairs.items() if pair.looks and now - pair.looks[-1][0] > WINDOW]:
            del self._pairs[key]

    def of(self, peer: int, routes: Sequence[Route]) -> Counts:
        """Of the two paths of a set that lost least together: so much can at most be lost on all of them."""
        pairs = [self._pairs.get((peer, *sorted(pair))) for pair in combinations(routes, 2)]  # type: ignore[arg-type]
        known = [pair.lately for pair in pairs if pair is not None and pair.lately.probes]
        return min(known, key=lambda counts: counts.both / counts.probes, default=Counts())

    def costs(self, topology: Topology) -> dict[RegionPair, float]:
        """What changed of the charges for having two regions in one set. A charge grows at once, by half or more, and
        goes when what was lost together may be chance again."""
        regions = {int(node.number): node.region for node in topology.nodes.values()}
        found: dict[RegionPair, float] = {}
        for (_, one, other), pair in self._pairs.items():
            if pair.now.moments < LEAST_MOMENTS:
                continue
            excess = pair.lately.excess
            if excess > 0 and all(number in regions for number in (*one, *other)):
                for a in (regions[number] for number in one[:-1]):
                    for b in (regions[number] for number in other[:-1]):
                        if a != b:
                            key = (min(a, b), max(a, b))
                            found[key] = max(found.get(key, 0.0), pair_cost(excess))
        changed = dict.fromkeys(self._charged.keys() - found.keys(), 0.0)
        for key, cost in found.items():
            before = self._charged.get(key, 0.0)
            if cost >= 1.5 * before:
                changed[key] = cost
        for key, cost in changed.items():
            if cost:
                self._charged[key] = cost
            else:
                del self._charged[key]
        return changed

    @property
    def charged(self) -> dict[RegionPair, float]:
        return dict(self._charged)


def _at_least(count: int, mean: float) -> float:
    """P(X >= count) of a Poisson distribution."""
    term = total = exp(-mean)
    for number in range(1, count):
        term *= mean / number
        total += term
    return max(0.0, 1 - total) if count else 1.0
