"""The redundancy of all applications with a target at one node: what the data plane counted in, sets of paths out.

Pure. One ``Losses`` per peer, since loss belongs to the paths; one ``ApplicationRedundancy`` per peer and application.
The two directions between an edge and a gateway are decided at either end, each by its sender.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from braid.desired import PathChoice, PathSet
from braid.redundancy.application import ApplicationRedundancy, Mode, UsePaths
from braid.redundancy.losses import TICK, Losses, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from braid import events
    from braid.redundancy.losses import Candidate
    from braid.redundancy.verdict import Verdict
    from topology.policy import TargetLoss

TOGETHER = TICK / 2
"""Seconds in which reports of several shards are one: alarms count losses by the tick."""
RATE_OVER = 10.0
"""Seconds over which packets per second are smoothed."""

SetKey = tuple[int, int]
"""Peer and number of the set."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What applications want of a peer, and the paths that there are."""

    policies: Mapping[int, TargetLoss]
    """By number of the set."""
    choices: tuple[PathChoice, ...]
    candidates: tuple[Candidate, ...]
    """In the same order, by the paths' ids."""


@dataclass(frozen=True, slots=True)
class Change:
    """For the log: an application's copies go another way, or more ways."""

    peer: int
    set: int
    mode: Mode
    paths: frozenset[int]
    cause: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How an application fares towards a peer."""

    peer: int
    set: int
    application: ApplicationRedundancy
    verdict: Verdict
    rate: float
    """Packets per second lately."""
    choices: tuple[PathChoice, ...] = ()
    """The paths there are."""


class _Direction:
    def __init__(self, selection: Selection) -> None:
        self.losses = Losses(selection.candidates)
        self.routes: dict[int, tuple[int, ...]] = {}
        self.selection = selection
        self.applications: dict[int, ApplicationRedundancy] = {}
        self.rates: dict[int, float] = {}
        self.waiting: list[events.Losses] = []
        self.taken = -inf

    def follow(self, selection: Selection, now: float) -> None:
        routes = {choice.id: choice.route for choice in selection.choices}
        for path, route in routes.items():
            if self.routes.get(path, route) != route:
                self.losses.forget(path)
        changed = [_with_delay(one, self.losses) for one in selection.candidates]
        if changed != list(self.losses.candidates.values()):
            self.losses.set_candidates(changed)
            for application in self.applications.values():
                application.follow_candidates(now)
        self.routes |= routes
        self.selection = selection
        for number in list(self.applications):
            if selection.policies.get(number) != self.applications[number].policy:
                del self.applications[number]
        for number, policy in selection.policies.items():
            if number not in self.applications:
                self.applications[number] = ApplicationRedundancy(policy, self.losses, now)


class Redundancy:
    def __init__(self) -> None:
        self._directions: dict[int, _Direction] = {}

    def configure(self, selections: Mapping[int, Selection], now: float) -> None:
        """Wishes by peer. What is known of paths and applications that stay is kept."""
        self._directions = {peer: known for peer, known in self._directions.items() if peer in selections}
        for peer, selection in selections.items():
            self._directions.setdefault(peer, _Direction(selection)).follow(selection, now)

    def path_sets(self) -> tuple[PathSet, ...]:
        """What the data plane shall do: the paths of each set now, and the others to stand by, cheapest first."""
        found = []
        for peer, direction in sorted(self._directions.items()):
            for number, application in sorted(direction.applications.items()):
                members = tuple(choice for choice in direction.selection.choices if choice.id in application.sent_on)
                spares = tuple(choice for choice in direction.selection.choices if choice.id not in application.sent_on)
                if members:
                    spread = round(application.policy.spread * 1e6)
                    found.append(PathSet(peer, number, members, spares, measured=True, spread_us=spread))
        return tuple(found)

    def receive(self, losses: events.Losses, now: float) -> list[Change]:
        """Counts of one shard. ``path_sets`` is another one if anything is returned."""
        direction = self._directions.get(losses.peer)
        if direction is None:
            return []
        direction.waiting.append(losses)
        return self._take(losses.peer, direction, now) if now - direction.taken >= TOGETHER else []

    def handle_timeout(self, now: float) -> list[Change]:
        changes = []
        for peer, direction in self._directions.items():
            if direction.waiting and now - direction.taken >= TICK:
                changes += self._take(peer, direction, now)
            for number, application in direction.applications.items():
                if now >= application.next_timeout():
                    changes += _changes(peer, number, application, application.handle_timeout(now))
        return changes

    def next_timeout(self) -> float:
        due = inf
        for direction in self._directions.values():
            if direction.waiting:
                due = min(due, direction.taken + TICK)
            due = min([due, *(application.next_timeout() for application in direction.applications.values())])
        return due

    def standings(self) -> tuple[Standing, ...]:
        return tuple(
            Standing(peer, number, application, application.verdict(rate), rate, direction.selection.choices)
            for peer, direction in sorted(self._directions.items())
            for number, application in sorted(direction.applications.items())
            for rate in (direction.rates.get(number, 0.0),)
        )

    def _take(self, peer: int, direction: _Direction, now: float) -> list[Change]:
        waiting, direction.waiting, direction.taken = direction.waiting, [], now
        for one in waiting:
            for path, delay in one.delays.items():
                direction.losses.set_delay(path, delay)
        report = _report(waiting, frozenset(direction.losses.candidates))
        new_alarms = direction.losses.receive(report, now)
        changes = []
        for number, application in direction.applications.items():
            own = _own_report(waiting, number, application.sent_on, report.seconds)
            for sent in (sent for one in waiting for sent in one.sent if sent.set == number):
                application.ledger.add_sent(sent.packets, sent.copies, sent.copied_bytes)
                weight = min(1.0, report.seconds / RATE_OVER)
                before = direction.rates.get(number, 0.0)
                direction.rates[number] = before + weight * (sent.packets / report.seconds - before)
            commands = application.receive(own, new_alarms, now)
            changes += _changes(peer, number, application, commands)
        return changes


def _with_delay(candidate: Candidate, losses: Losses) -> Candidate:
    """With the delay that was measured, where one was."""
    known = losses.candidates.get(candidate.path)
    return replace(candidate, delay=known.delay) if known else candidate


def _changes(peer: int, number: int, application: ApplicationRedundancy, commands: Iterable[UsePaths]) -> list[Change]:
    return [Change(peer, number, application.mode, command.paths, command.cause) for command in commands]


def _report(told: list[events.Losses], candidates: frozenset[int]) -> Report:
    """All that was sent to the peer, as one."""
    probes = 0
    others: dict[frozenset[int], int] = {}
    lost: dict[int, int] = {}
    both: dict[tuple[int, int], int] = {}
    for one in told:
        for stream in one.streams:
            if stream.set is None and stream.on == candidates:
                probes += stream.packets
            else:
                others[stream.on] = others.get(stream.on, 0) + stream.packets
        for path, count in one.lost.items():
            lost[path] = lost.get(path, 0) + count
        for pair, count in one.both.items():
            both[pair] = both.get(pair, 0) + count
    on, packets = max(others.items(), key=lambda item: item[1], default=(frozenset(), 0))
    rest = tuple((paths, count) for paths, count in others.items() if paths != on)
    return Report(_seconds(told), packets, on, probes, lost, both, others=rest)


def _own_report(told: list[events.Losses], number: int, on: frozenset[int], seconds: float) -> Report:
    streams = [stream for one in told for stream in one.streams if stream.set == number]
    return Report(
        seconds,
        sum(stream.packets for stream in streams),
        on,
        repaired=sum(stream.repaired for stream in streams),
        all_lost=sum(stream.all_lost for stream in streams),
    )


def _seconds(told: list[events.Losses]) -> float:
    return max([TICK / 10, *(one.seconds for one in told)])
