"""One seed: a world, its trouble, some flows, and all schemes on the same packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bench.redundancy.channel import PACKETS, run
from bench.redundancy.events import draw
from bench.redundancy.schemes import ClosedLoop, Dynamic, Static, all_lost
from bench.redundancy.world import Flow, World, country
from braid.redundancy.losses import TICK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.redundancy.events import Regime, Spell
    from bench.redundancy.schemes import Scheme
    from topology.policy import TargetLoss

BACKGROUND = (1e-5, 1.5e-4)
"""Loss of a link outside of trouble."""
SINGLE, PAIR, DYNAMIC, FLOOD = "one path", "static pair", "dynamic pair", "all paths"


@dataclass(slots=True)
class Tally:
    packets: int = 0
    copies: int = 0
    lost: int = 0
    changes: int = 0

    def add(self, other: Tally) -> None:
        self.packets += other.packets
        self.copies += other.copies
        self.lost += other.lost
        self.changes += other.changes


@dataclass(slots=True)
class Trial:
    """By scheme, over all flows of a seed."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    hours: float = 0.0


def trial(regime: Regime, seed: int, hours: float, flows: int, policies: Mapping[str, TargetLoss]) -> Trial:
    rng = Random(f"{regime.name} {seed}")
    world = country(rng)
    seconds = hours * 3600
    spells = draw(world, regime, seconds, rng)
    pairs = rng.sample([(edge, gateway) for edge in world.edges for gateway in world.gateways], flows)
    return play(world, spells, [world.flow(*pair) for pair in pairs], seconds, seed, policies, rng)


def play(
    world: World,
    spells: Sequence[Spell],
    flows: Sequence[Flow],
    seconds: float,
    seed: int,
    policies: Mapping[str, TargetLoss],
    rng: Random,
) -> Trial:
    background = {link: rng.uniform(*BACKGROUND) for link in world.delay}
    result = Trial(seed, hours=seconds * len(flows) / 3600)
    for flow in flows:
        schemes: list[Scheme] = [
            Static(SINGLE, flow, 1),
            Static(PAIR, flow, 2),
            Dynamic(DYNAMIC, flow, 2),
            Static(FLOOD, flow, len(flow.relays)),
        ]
        loops = [ClosedLoop(name, flow, policy) for name, policy in policies.items()]
        schemes += loops
        tallies = [Tally() for _ in schemes]
        for ticks in run(flow, spells, background, round(seconds / TICK), rng):
            packets = ticks.count * PACKETS
            for scheme, tally in zip(schemes, tallies, strict=True):
                on = scheme.sent_on
                tally.packets += packets
                tally.copies += packets * len(on)
                if ticks.masks:
                    tally.lost += all_lost(ticks.masks, on)
                scheme.observe(ticks)
        for loop, tally in zip(loops, tallies[-len(loops) :], strict=True):
            tally.changes = loop.application.changes
        for scheme, tally in zip(schemes, tallies, strict=True):
            result.tallies.setdefault(scheme.name, Tally()).add(tally)
    return result
