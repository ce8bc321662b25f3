"""Schemes that the policy is compared with. Each says on which paths the packets of the next ticks are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bench.redundancy.channel import DATA, PACKETS, SLOTS
from braid.redundancy.application import ApplicationRedundancy
from braid.redundancy.choose import cheapest_apart
from braid.redundancy.losses import TICK, Losses, Report

if TYPE_CHECKING:
    from bench.redundancy.channel import Ticks
    from bench.redundancy.world import Flow
    from topology.policy import TargetLoss

REACTION_TICKS = 1
"""Ticks from the end of the one in which something happens to when the sender has heard of it: with the tick itself
between 0.1 and 0.2 s."""
PROBLEM, CLEAR = 0.02, 0.005
"""Loss at which the dynamic pair leaves a path, and below which it comes back (Spines, daemon/network.h)."""


class Scheme(Protocol):
    name: str
    sent_on: frozenset[int]

    def observe(self, ticks: Ticks) -> None:
        """What happened while packets were sent on ``sent_on``."""
        ...


class Static:
    def __init__(self, name: str, flow: Flow, copies: int) -> None:
        self.name = name
        self.sent_on = frozenset(cheapest_apart(Losses(flow.candidates), range(len(flow.relays)), copies))

    def observe(self, ticks: Ticks) -> None:
        """It never changes."""


class Dynamic:
    """The cheapest disjoint paths without a problem, chosen each second by all packets on all paths: better informed
    than any sender could be."""

    def __init__(self, name: str, flow: Flow, copies: int) -> None:
        self.name = name
        self._copies = copies
        self._losses = Losses(flow.candidates)
        self._bad: set[int] = set()
        self._lost = dict.fromkeys(range(len(flow.relays)), 0)
        self._ticks = 0
        self.sent_on = frozenset(cheapest_apart(self._losses, self._lost, copies))

    def observe(self, ticks: Ticks) -> None:
        for path, mask in ticks.masks.items():
            self._lost[path] += mask.bit_count()
        self._ticks += ticks.count
        if self._ticks < 10:
            return
        shares = {path: lost / (self._ticks * SLOTS) for path, lost in self._lost.items()}
        self._bad = {path for path, share in shares.items() if share > (CLEAR if path in self._bad else PROBLEM)}
        good = [path for path in shares if path not in self._bad]
        chosen = cheapest_apart(self._losses, good, self._copies)
        rest = sorted(self._bad, key=lambda path: (shares[path], path))[: self._copies - len(chosen)]
        self.sent_on = frozenset((*chosen, *rest))
        self._lost = dict.fromkeys(self._lost, 0)
        self._ticks = 0


class ClosedLoop:
    """The policy as nodes run it: what it knows are reports of the far end, and they arrive later."""

    def __init__(self, name: str, flow: Flow, policy: TargetLoss) -> None:
        self.name = name
        self.losses = Losses(flow.candidates)
        self.application = ApplicationRedundancy(policy, self.losses, 0.0)
        self.sent_on = self.application.sent_on
        self._on_its_way: list[tuple[int, Report]] = []

    def observe(self, ticks: Ticks) -> None:
        end = ticks.first + ticks.count
        self._on_its_way.append((end + REACTION_TICKS, report(ticks, self.sent_on)))
        while self._on_its_way and (ticks.count > REACTION_TICKS or self._on_its_way[0][0] <= end):
            _, heard = self._on_its_way.pop(0)
            now = end * TICK
            self.application.receive(heard, self.losses.receive(heard, now), now)
            self.application.ledger.add_sent(heard.packets, heard.packets * len(heard.on), 0)
        if self.application.next_timeout() <= end * TICK:
            self.application.handle_timeout(end * TICK)
        self.sent_on = self.application.sent_on


def report(ticks: Ticks, on: frozenset[int]) -> Report:
    """What the far end can count when each packet is sent on ``on`` and each probe on all paths."""
    seconds, packets = ticks.count * TICK, ticks.count * PACKETS
    if not ticks.masks:
        return Report(seconds, packets, on, ticks.count)
    seen = {path: mask if path in on else mask & ~DATA for path, mask in ticks.masks.items()}
    seen = {path: mask for path, mask in seen.items() if mask}
    both = {}
    paths = sorted(seen)
    for position, one in enumerate(paths):
        for other in paths[position + 1 :]:
            if common := seen[one] & seen[other]:
                both[one, other] = common.bit_count()
    some = 0
    for path in on:
        some |= ticks.masks.get(path, 0)
    every = all_lost(ticks.masks, on)
    return Report(
        seconds,
        packets,
        on,
        ticks.count,
        {path: mask.bit_count() for path, mask in seen.items()},
        both,
        (some & DATA).bit_count() - every,
        every,
    )


def all_lost(masks: dict[int, int], on: frozenset[int]) -> int:
    """Packets of which no copy arrives."""
    mask = DATA
    for path in on:
        mask &= masks.get(path, 0)
    return mask.bit_count()
