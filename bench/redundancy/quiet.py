"""A day without trouble: how often does the policy take single losses for it, and what does that cost?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.redundancy.channel import run
from bench.redundancy.schemes import ClosedLoop
from bench.redundancy.world import Flow
from braid.redundancy.losses import TICK, Candidate

if TYPE_CHECKING:
    from random import Random

    from topology.policy import TargetLoss

PATHS = 8
LOSS = 1.5e-3
"""Of each path, every packet on its own."""


@dataclass(frozen=True, slots=True)
class Quiet:
    hours: float
    surges: int
    mean_copies: float


def quiet_day(policy: TargetLoss, hours: float, rng: Random) -> Quiet:
    relays = tuple(f"m{number}" for number in range(PATHS))
    paths = tuple(Candidate(path, 10.0 + path, frozenset({f"relay {relay}"})) for path, relay in enumerate(relays))
    flow = Flow("edge", "gateway", relays, paths)
    loop = ClosedLoop("policy", flow, policy)
    background = {link: LOSS if link[0] == "edge" else 0.0 for path in range(PATHS) for link in flow.links(path)}
    for ticks in run(flow, [], background, round(hours * 3600 / TICK), rng):
        loop.observe(ticks)
    ledger = loop.application.ledger
    return Quiet(hours, ledger.surges, ledger.mean_copies)
