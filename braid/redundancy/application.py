"""The redundancy of one application in one direction between two nodes: reports and time in, sets of paths out.

Steady: the cheapest set that meets the target. As soon as a path in use is in trouble, or two others are and the set
does not meet the target, the most diverse paths are used together until a steady set does again. A new set is used at
once; what it no longer holds is sent on for a second more, so that a change loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from braid.redundancy.choose import cheapest_apart, most_diverse, set_loss, steady_set
from braid.redundancy.ledger import Budget, Ledger
from braid.redundancy.verdict import Verdict, judge, trouble

if TYPE_CHECKING:
    from braid.redundancy.losses import Losses, Report
    from topology.policy import TargetLoss

NONE: frozenset[int] = frozenset()
DECIDE_EVERY = 1.0
SURGE = 2.0
"""Seconds that a surge lasts at least."""
CALM_COPIES = 3
"""Copies while alarms are held without anything being lost."""
OVERLAP = 1.0
"""Seconds for which paths that are given up are still used."""


class Mode(StrEnum):
    STEADY = "steady"
    SURGE = "surge"


@dataclass(frozen=True, slots=True)
class UsePaths:
    """Send each packet on all of these from now on."""

    paths: frozenset[int]
    cause: str
    """For the log and the status page."""


class ApplicationRedundancy:
    """``losses`` is shared by the applications between the two nodes; its owner feeds it before these."""

    def __init__(self, policy: TargetLoss, losses: Losses, now: float) -> None:
        self.policy = policy
        self.losses = losses
        self.ledger = Ledger()
        self.mode = Mode.STEADY
        self.surge_cause = ""
        """Of the last surge."""
        self.changes = 0
        """Times that the set was changed."""
        self.using = frozenset(cheapest_apart(losses, self._usable(), policy.min_copies))
        """What was chosen; ``sent_on`` has for a moment more."""
        self.sent_on = self.using
        self._budget = Budget(policy.min_copies, policy.budget)
        self._surge_until = -inf
        self._surge_began = now
        self._decide_at = now + DECIDE_EVERY
        self._drop_at = inf
        self._limited = False
        self._was_alarmed = False

    def receive(self, report: Report, new_alarms: frozenset[int], now: float) -> list[UsePaths]:
        """A report that ``losses`` has taken in, and what this said of it."""
        self.ledger.add_settled(report.packets, report.repaired, report.all_lost)
        self._budget.spend(len(report.on) - self.policy.min_copies, report.seconds)
        if self.mode is Mode.SURGE:
            self.ledger.surge_seconds += report.seconds
        if new_alarms & self.using or (new_alarms and len(self.losses.alarmed) >= 2):
            self.losses.refresh()
            return self._decide(now, new_alarms)
        self._follow_alarms(now)
        return []

    def handle_timeout(self, now: float) -> list[UsePaths]:
        self.losses.handle_timeout(now)
        self._follow_alarms(now)
        commands = []
        if now >= self._drop_at:
            self._drop_at = inf
            if self.sent_on != self.using:
                self.sent_on = self.using
                commands.append(self._command("the new set is in use"))
        if now >= self._decide_at:
            self.losses.refresh()
            commands += self._decide(now)
        return commands

    def follow_candidates(self, now: float) -> None:
        """``losses`` has other candidates: paths that are none any more are given up, and replaced, at once."""
        known = frozenset(self.losses.candidates)
        self.using &= known
        missing = self.policy.min_copies - len(self.using)
        if missing > 0:
            self.using |= frozenset(cheapest_apart(self.losses, set(self._usable()) - self.using, missing))
        self.sent_on = (self.sent_on & known) | self.using
        self._decide_at = now

    def next_timeout(self) -> float:
        """When there is something to do although no report comes."""
        return min(self._decide_at, self._drop_at, self.losses.next_timeout())

    def verdict(self, packets_per_second: float) -> Verdict:
        return judge(self.losses, self.policy, sorted(self.using), packets_per_second, limited=self._limited)

    def _follow_alarms(self, now: float) -> None:
        """When the last one ends, it is time to decide."""
        alarmed = bool(self.losses.alarmed)
        if self._was_alarmed and not alarmed:
            self._decide_at = now
        self._was_alarmed = alarmed

    def _usable(self) -> list[int]:
        """Candidates that meet the deadline; all of them when none does."""
        paths, deadline = list(self.losses.candidates), self.policy.deadline
        return [path for path in paths if deadline is None or self.losses.candidates[path].delay <= deadline] or paths

    def _decide(self, now: float, new_alarms: frozenset[int] = NONE) -> list[UsePaths]:
        policy, alarmed, usable = self.policy, self.losses.alarmed, self._usable()
        self._decide_at = now + DECIDE_EVERY
        calm = bool(alarmed) and self.losses.calm(now)
        if new_alarms & self.using or (not calm and self._in_trouble()):
            self._surge_until = now + SURGE
        over = calm or now >= self._surge_until
        limit = self._budget.limit(policy.min_copies, policy.max_copies)
        self._limited = False
        if over:
            fit = steady_set(self.losses, usable, self.using, policy.min_copies, policy.target)
            known = alarmed or self.losses.lost_together(self._fewest(usable))
            if fit is not None and len(fit.paths) <= (limit if known else policy.min_copies):
                return self._change(frozenset(fit.paths), Mode.STEADY, "the cheapest set that meets the target", now)
            if not alarmed:
                return self._change(self._fewest(usable), Mode.STEADY, "no set provably meets the target", now)
        self._limited = limit < policy.max_copies
        if calm:
            limit = min(limit, max(policy.min_copies, CALM_COPIES))
        chosen = most_diverse(self.losses, usable, self.using, limit)
        return self._change(frozenset(chosen), Mode.SURGE, trouble(self.losses), now)

    def _in_trouble(self) -> bool:
        """Two paths with alarms are a sign that an end is in trouble; it matters where the set in use is not enough."""
        if len(self.losses.alarmed) < 2:
            return False
        return set_loss(self.losses, sorted(self.using)).estimate > self.policy.target

    def _fewest(self, usable: list[int]) -> frozenset[int]:
        if len(self.using) == self.policy.min_copies:
            return self.using
        return frozenset(cheapest_apart(self.losses, usable, self.policy.min_copies))

    def _change(self, paths: frozenset[int], mode: Mode, cause: str, now: float) -> list[UsePaths]:
        if mode is Mode.SURGE and self.mode is Mode.STEADY:
            self.ledger.surges += 1
            self.surge_cause = cause
            self._surge_began = now
        if self.mode is Mode.SURGE:
            self.ledger.longest_surge = max(self.ledger.longest_surge, now - self._surge_began)
        self.mode = mode
        if paths == self.using:
            return []
        self.changes += 1
        self.using = paths
        before, self.sent_on = self.sent_on, self.sent_on | paths
        self._drop_at = now + OVERLAP
        return [] if before == self.sent_on else [self._command(cause)]

    def _command(self, cause: str) -> UsePaths:
        return UsePaths(self.sent_on, cause)
