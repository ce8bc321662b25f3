"""How much an edge carries of what it can, and which share of its clients should go elsewhere. Pure.

Load is the larger of two: bytes from or to clients by the configured capacity, and the time that the busiest data
thread works. Spilling begins only when that is above ``HIGH`` and ends only when it is below ``LOW``, in steps that
are as far apart as clients need to follow: so it finds a share to spill and stays there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

SMOOTHING = 3.0
"""Seconds: time constant of the load."""
LEAST_GAP = 0.4
"""Seconds between two samples: thread times come in ticks of 10 ms."""
HIGH, AIM, LOW = 0.9, 0.8, 0.7
PACE = 10.0
"""Seconds between steps: the TTL of an answer while something is not well, which spilling is."""
CALM = 30.0
"""Seconds that load must be low before clients are taken back."""
STEP = 0.125
"""Of all clients: what is taken back at most in one step."""
FIRST_STEP = 1 / 16
"""Of all clients: what is taken back first when all were sent away."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Counters since the data plane began."""

    from_clients: int
    """Bytes."""
    to_clients: int
    busy: tuple[float, ...]
    """Processor seconds of each data thread, in an order that stays."""


class LoadMeter:
    def __init__(self) -> None:
        self._last: tuple[Carried, float] | None = None
        self.load = 0.0
        """1.0 is all that the node can carry; may be more."""

    def observe(self, carried: Carried, capacity_mbit: int | None, now: float) -> None:
        """Takes the counters in; what comes sooner than ``LEAST_GAP`` after the last is passed over."""
        if self._last is None:
            self._last = carried, now
            return
        before, since = self._last
        gap = now - since
        if gap < LEAST_GAP:
            return
        self._last = carried, now
        fresh = (
            max((after - earlier for after, earlier in zip(carried.busy, before.busy, strict=False)), default=0.0) / gap
        )
        if capacity_mbit is not None:
            up, down = carried.from_clients - before.from_clients, carried.to_clients - before.to_clients
            fresh = max(fresh, max(up, down) * 8 / gap / (capacity_mbit * 1e6))
        self.load += (max(fresh, 0.0) - self.load) * (1 - exp(-gap / SMOOTHING))


class Spill:
    def __init__(self) -> None:
        self._kept = 1.0
        self._due = 0.0
        self._low_since: float | None = None

    @property
    def share(self) -> float:
        """0..1: of the clients that would be named this edge, those that should be named another one."""
        return 1 - self._kept

    def follow(self, load: float, now: float) -> None:
        if load > LOW:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = now
        if now < self._due:
            return
        if load >= HIGH:
            kept = self._kept * AIM / load
            self._kept = kept if kept >= FIRST_STEP else 0.0
        elif self._kept < 1 and self._low_since is not None and now - self._low_since >= CALM:
            self._kept = self._more(load)
        else:
            return
        self._due = now + PACE

    def _more(self, load: float) -> float:
        if self._kept == 0:
            return FIRST_STEP
        # Load grows with the clients: no more of them than would make it what is aimed at.
        return min(1.0, self._kept + STEP, self._kept * AIM / max(load, 1e-9))
