"""Drives the policy tick by tick: what each path loses is said per tick, and packets lose accordingly."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import TYPE_CHECKING

from braid.redundancy.application import ApplicationRedundancy
from braid.redundancy.losses import TICK, Candidate, Losses, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topology.policy import TargetLoss


def candidates(count: int, shared: Mapping[int, str] | None = None) -> list[Candidate]:
    """Paths 0, 1, ... in rising order of cost, each with a relay of its own; ``shared`` are further groups by path."""
    extra = shared or {}
    return [
        Candidate(path, 10.0 + path, frozenset({f"relay {path}", *([extra[path]] if path in extra else [])}))
        for path in range(count)
    ]


class Driver:
    """``packets`` of the application in each tick, one probe on every path; the sender hears of it a tick later."""

    def __init__(self, policy: TargetLoss, paths: list[Candidate], packets: int = 10, seed: int = 1) -> None:
        self.losses = Losses(paths)
        self.application = ApplicationRedundancy(policy, self.losses, 0.0)
        self.packets = packets
        self.rng = Random(seed)
        self.tick = 0
        self.copy_seconds = 0.0
        self._heard: list[Report] = []

    @property
    def now(self) -> float:
        return self.tick * TICK

    def run(self, seconds: float, loss: Mapping[int, float] | None = None, common: float = 0.0) -> None:
        """``loss`` of each path on its own, 0 where it is not named; ``common`` hits paths 0 and 1 at once."""
        for _ in range(round(seconds / TICK)):
            self._step(loss or {}, common)

    def quiet(self, seconds: float) -> None:
        """The same without losses, a second at a time."""
        for _ in range(round(seconds)):
            on = self.application.sent_on
            self._take(Report(1.0, 10 * self.packets, on, 10), 10)

    def _step(self, loss: Mapping[int, float], common: float) -> None:
        on = self.application.sent_on
        lost = dict.fromkeys(self.losses.candidates, 0)
        both: dict[tuple[int, int], int] = {}
        every = some = 0
        for slot in range(self.packets + 1):
            sent = on if slot < self.packets else frozenset(lost)
            hit = self.rng.random() < common
            gone = {p for p in sent if self.rng.random() < loss.get(p, 0.0) or (hit and p < 2)}
            for path in gone:
                lost[path] += 1
            for pair in combinations(sorted(gone), 2):
                both[pair] = both.get(pair, 0) + 1
            if slot < self.packets:
                every += gone == sent
                some += bool(gone) and gone != sent
        counted = {path: count for path, count in lost.items() if count}
        self._take(Report(TICK, self.packets, on, 1, counted, both, some, every), 1)

    def _take(self, report: Report, ticks: int) -> None:
        self.tick += ticks
        self.copy_seconds += len(report.on) * report.seconds
        self._heard.append(report)
        while len(self._heard) > 1:
            heard = self._heard.pop(0)
            self.application.receive(heard, self.losses.receive(heard, self.now), self.now)
            copies = heard.packets * len(heard.on)
            self.application.ledger.add_sent(heard.packets, copies, (copies - heard.packets) * 100)
        if self.application.next_timeout() <= self.now:
            self.application.handle_timeout(self.now)
