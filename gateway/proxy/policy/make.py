"""From a policy's name to the policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gateway.proxy.policy.least_connections import LeastConnections
from gateway.proxy.policy.maglev import Maglev
from gateway.proxy.policy.p2c import PowerOfTwoChoices
from gateway.proxy.policy.ring_hash import RingHash
from gateway.proxy.policy.round_robin import RoundRobin
from gateway.proxy.policy.weighted import Weighted
from topology.proxy import ServerPolicy

if TYPE_CHECKING:
    from random import Random

    from gateway.proxy.policy.base import ServerSelectionPolicy


def make_policy(policy: ServerPolicy, rng: Random) -> ServerSelectionPolicy:
    match policy:
        case ServerPolicy.ROUND_ROBIN:
            return RoundRobin()
        case ServerPolicy.WEIGHTED:
            return Weighted()
        case ServerPolicy.LEAST_CONNECTIONS:
            return LeastConnections()
        case ServerPolicy.P2C:
            return PowerOfTwoChoices(rng)
        case ServerPolicy.RING_HASH:
            return RingHash()
        case ServerPolicy.MAGLEV:
            return Maglev()
        case _:
            assert_never(policy)
