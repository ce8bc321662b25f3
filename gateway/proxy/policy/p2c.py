"""p2c: of two different servers drawn at random, the one with less expected waiting (power of two choices).

Drawn without replacement: drawing the same one twice would be no choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from gateway.proxy.policy.base import Load
    from topology.model import Target

FASTEST = 0.0001
"""Seconds. A server of which nothing is known counts as this fast, so it is tried."""


class PowerOfTwoChoices:
    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        drawn = self._rng.sample(servers, min(2, len(servers)))
        return min(drawn, key=lambda server: _waiting(server, load))


def _waiting(server: Target, load: Load) -> float:
    return max(load.latency(server), FASTEST) * (load.active(server) + 1) / server.weight
