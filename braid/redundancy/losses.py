"""What is known of the losses of all candidate paths in one direction between two nodes, and of each two of them.

Shared by all applications between the two: loss belongs to the paths. Counts of a path are frozen while its alarm is
on, so that trouble neither poisons what is believed of the path in quiet times nor is calmed by it. For the same reason
losses count only after a second: by then an alarm has told those that trouble began with.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

from braid.redundancy.alarm import Alarm
from braid.redundancy.estimate import Belief, Counts, Kinship, joint_loss, path_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Pair = tuple[int, int]
"""Two paths by number, the lower one first."""
RECENT = 0.9
"""What the counts of the last second weigh after another tick."""
TICK = 0.1
DOUBT = 1.0
"""Seconds after which a loss counts, unless an alarm has come of it."""
LEAST_TROUBLE = 0.05
"""Loss that a path with an alarm is credited with at least."""
LEAST_SEEN = 0.5
"""Fading joint losses from which on they are more than what the prior says."""
LEAST_MOMENTS, LEAST_LOSSES = 5, 10
"""Ticks with joint losses, and losses of each of two paths, from which on their dependence is spoken of."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that may be used. ``groups`` are what it shares its fate with: regions, providers at each end, risks."""

    path: int
    cost: float
    groups: frozenset[str]
    delay: float = 0.0
    """Seconds, one way, 99th percentile."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the far end counted in one tick of 100 ms, or in a longer time in which nothing was lost.

    Each of ``packets`` was sent on every path of ``on``, each of ``probes`` on every candidate at the same moment.
    """

    seconds: float
    packets: int
    on: frozenset[int]
    probes: int = 0
    lost: Mapping[int, int] = field(default_factory=dict)
    """Path -> packets and probes that did not come. Without paths that lost nothing."""
    both: Mapping[Pair, int] = field(default_factory=dict)
    """Two paths -> packets and probes of which neither copy came. Without zeros."""
    repaired: int = 0
    """Packets of which some copy was lost, but not all."""
    all_lost: int = 0
    others: tuple[tuple[frozenset[int], int], ...] = ()
    """Sets of paths, and packets that went out on them beside ``packets``: of other applications, before a change."""


@dataclass(slots=True)
class _Doubtful:
    """Losses that may be the beginning of trouble."""

    at: float
    lost: dict[int, int]
    both: dict[Pair, int]


@dataclass(slots=True)
class _PathState:
    long: Counts = field(default_factory=Counts)
    alarm: Alarm = field(default_factory=Alarm)
    recent_sent: float = 0.0
    recent_lost: float = 0.0
    belief: Belief = field(default_factory=lambda: path_loss(Counts()))


class Losses:
    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.candidates = {candidate.path: candidate for candidate in candidates}
        self._paths = {path: _PathState() for path in self.candidates}
        self._pairs = {pair: Counts() for pair in combinations(sorted(self.candidates), 2)}
        self._fresh: dict[Pair, Belief] = {}
        self._waiting: dict[frozenset[int], tuple[float, float]] = {}
        """Packets and probes on a set of paths that are not yet in the counts of pairs."""
        self._waited = 0.0
        self._doubtful: deque[_Doubtful] = deque()
        self._known: dict[int, _PathState] = {}
        """Of paths that are no candidates now."""
        self._known_pairs: dict[Pair, Counts] = {}

    def receive(self, report: Report, now: float) -> frozenset[int]:
        """Take in a report; paths whose alarm is new."""
        new = set()
        data: dict[int, int] = {}
        for on, packets in ((report.on, report.packets), *report.others):
            for path in on if packets else ():
                data[path] = data.get(path, 0) + packets
            waiting, probed = self._waiting.get(on, (0.0, 0.0))
            self._waiting[on] = (waiting + packets, probed)
        faded = RECENT ** max(1.0, report.seconds / TICK)
        for path, state in self._paths.items():
            sent = report.probes + data.get(path, 0)
            lost = report.lost.get(path, 0)
            state.recent_sent = state.recent_sent * faded + sent
            state.recent_lost = state.recent_lost * faded + lost
            if (lost or state.alarm.score or state.alarm.on) and state.alarm.observe(
                sent, lost, now, data=path in data
            ):
                new.add(path)
            if not state.alarm.on:
                state.long.add(sent, 0, now)
        waiting, probed = self._waiting.get(report.on, (0.0, 0.0))
        self._waiting[report.on] = (waiting, probed + report.probes)
        self._waited += report.seconds
        if report.lost:
            self._doubtful.append(_Doubtful(now, dict(report.lost), dict(report.both)))
        if new:
            self._settle()
        self._believe(now)
        return frozenset(new)

    def _believe(self, now: float) -> None:
        """Count losses that are old enough, and none of paths in trouble."""
        alarmed = self.alarmed
        for doubtful in self._doubtful if alarmed else ():
            doubtful.lost = {path: count for path, count in doubtful.lost.items() if path not in alarmed}
            doubtful.both = {pair: count for pair, count in doubtful.both.items() if alarmed.isdisjoint(pair)}
        while self._doubtful and now - self._doubtful[0].at >= DOUBT:
            doubtful = self._doubtful.popleft()
            for path, count in doubtful.lost.items():
                if path in self._paths:
                    self._paths[path].long.add(0, count, doubtful.at)
            if doubtful.both:
                self._settle()
            for pair, count in doubtful.both.items():
                if pair in self._pairs:
                    self._pairs[pair].add(0, count, doubtful.at)

    def set_candidates(self, candidates: Iterable[Candidate]) -> None:
        """Others may be used from now on. What is known of a path waits for its return; ``forget`` ends that."""
        self._settle()
        self.candidates = {candidate.path: candidate for candidate in candidates}
        self._known |= self._paths
        self._known_pairs |= self._pairs
        self._paths = {path: self._known.pop(path, _PathState()) for path in self.candidates}
        pairs = combinations(sorted(self.candidates), 2)
        self._pairs = {pair: self._known_pairs.pop(pair, Counts()) for pair in pairs}
        self._fresh.clear()

    def forget(self, path: int) -> None:
        """The number stands for another path from now on."""
        self._known.pop(path, None)
        self._doubtful.clear()
        if path in self._paths:
            self._paths[path] = _PathState()
        for pairs in (self._pairs, self._known_pairs):
            for pair in pairs:
                if path in pair:
                    pairs[pair] = Counts()

    def set_delay(self, path: int, delay: float) -> None:
        if path in self.candidates:
            self.candidates[path] = replace(self.candidates[path], delay=delay)

    def handle_timeout(self, now: float) -> None:
        """Ends alarms whose time is over: where nothing is lost, reports come only once a second."""
        for state in self._paths.values():
            state.alarm.handle_timeout(now)

    def next_timeout(self) -> float:
        return min((state.alarm.next_timeout() for state in self._paths.values()), default=inf)

    def refresh(self) -> None:
        """Bring what is believed up to date; to be called before a decision, once a second or so."""
        self._settle()
        for state in self._paths.values():
            state.belief = path_loss(state.long)
        self._fresh.clear()

    @property
    def alarmed(self) -> frozenset[int]:
        return frozenset(path for path, state in self._paths.items() if state.alarm.on)

    def calm(self, now: float) -> bool:
        """Whether no path with an alarm has lost much lately, so that the alarms are about to end."""
        return all(state.alarm.calm(now) for state in self._paths.values() if state.alarm.on)

    def recent(self, path: int) -> float:
        """Share lost in the last second or so."""
        state = self._paths[path]
        return (state.recent_lost + 1) / (state.recent_sent + 2)

    def path(self, path: int) -> Belief:
        state = self._paths[path]
        if state.alarm.on:
            loss = max(LEAST_TROUBLE, self.recent(path))
            return Belief(loss, loss)
        return state.belief

    def pair(self, one: int, other: int) -> Belief:
        """As a choice is made by: declared disjointness is believed until the counts contradict it."""
        pair = (one, other) if one < other else (other, one)
        known = self._fresh.get(pair)
        if known is None:
            known = self._fresh[pair] = self._pair(pair, self.kinship(*pair))
        return known

    def claim(self, one: int, other: int, *, vouched: bool) -> tuple[Belief, Counts, Kinship]:
        """As a verdict may be given by: declarations count only where the operator vouches for them."""
        pair = (one, other) if one < other else (other, one)
        kinship = self.kinship(*pair) if vouched else Kinship.UNKNOWN
        return self._pair(pair, kinship), self._pairs[pair], kinship

    def kinship(self, one: int, other: int) -> Kinship:
        shared = self.candidates[one].groups & self.candidates[other].groups
        return Kinship.SHARED if shared else Kinship.DECLARED_DISJOINT

    def lost_together(self, paths: frozenset[int]) -> bool:
        """Whether any two of these were seen to lose the same packet, or a single one any, as far as is remembered."""
        if len(paths) == 1:
            return all(self._paths[path].long.lost > LEAST_SEEN for path in paths)
        return any(self._pairs[pair].lost > LEAST_SEEN for pair in combinations(sorted(paths), 2))

    def together(self, one: int, other: int) -> float | None:
        """P(both lost | one lost) as counted; None while there are too few losses to tell."""
        counts = self._pairs[min(one, other), max(one, other)]
        fewer = min(self._paths[path].long.lost for path in (one, other))
        if counts.moments < LEAST_MOMENTS or fewer < LEAST_LOSSES:
            return None
        # Losses of a path are counted on all its packets, joint losses on those that both had: compare like with like.
        share = min(self._paths[path].long.sent for path in (one, other)) or 1.0
        return min(1.0, counts.lost / max(counts.lost, fewer * counts.sent / share))

    def _pair(self, pair: Pair, kinship: Kinship) -> Belief:
        one, other = (self.path(path) for path in pair)
        if self._paths[pair[0]].alarm.on or self._paths[pair[1]].alarm.on:
            loss = one.estimate * other.estimate + float(kinship) * min(one.estimate, other.estimate)
            return Belief(min(1.0, loss), min(1.0, loss))
        return joint_loss(self._pairs[pair], one, other, kinship)

    def _settle(self) -> None:
        """Put what waits into the counts of the pairs; without losses all of a pair's packets count alike."""
        if not self._waiting:
            return
        quiet = [path for path, state in self._paths.items() if not state.alarm.on]
        for on, (packets, probes) in self._waiting.items():
            for pair in combinations(quiet, 2):
                both = pair[0] in on and pair[1] in on
                self._pairs[min(pair), max(pair)].sent += packets + probes if both else probes
        self._waiting.clear()
        for counts in self._pairs.values():
            counts.fade(self._waited)
        for state in self._paths.values():
            if not state.alarm.on:
                state.long.fade(self._waited)
        self._waited = 0.0
