"""One node's memory: each second's snapshot becomes history, changes with their cause, and since-when. Pure.

What it knows goes back into what is shown (``annotate``), so page, JSON, metrics and log say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.status.changes import Change, ChangeLog, Kind, Tone
from braid.status.compare import compare
from braid.status.history import History
from braid.status.measure import Shares, record
from braid.status.protection import AVOIDED, GRACE, Guard, why_reduced
from braid.status.renew import renewed
from braid.status.size import narrowness
from braid.trouble import Sample, Troubles

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from braid.status.paths import PathStatus
    from braid.status.snapshot import NeighbourStatus, NodeStatus
    from topology.model import HealthSettings

PathKey = tuple[str, tuple[str, ...]]
"""Peer and route."""
REMEMBER = 600.0
"""Seconds for which a path that is avoided keeps the reason, if nothing is heard of it."""
SETTLE = 2.0
"""Seconds that a path has after it came into use: the peer reports on the last second."""


@dataclass(frozen=True, slots=True)
class _State:
    up: bool
    in_use: bool
    since: float


@dataclass(frozen=True, slots=True)
class _Silence:
    since: float
    detail: str

    @property
    def behind(self) -> bool:
        """The first hop works: only using the path again shows whether it delivers."""
        return not self.detail.startswith("neighbour")


@dataclass(frozen=True, slots=True)
class _Link:
    """A neighbour as it was taken in last, and for as long as the very same comes again (``braid.calm``)."""

    taken: NeighbourStatus
    shown: NeighbourStatus
    at: float


class Recorder:
    def __init__(self, history: History | None = None) -> None:
        self.history = history or History()
        self.changes = ChangeLog()
        self._guard = Guard()
        self._neighbours: dict[str, _State] = {}
        self._links: dict[str, _Link] = {}
        self._paths: dict[PathKey, _State] = {}
        self._silent: dict[PathKey, _Silence] = {}
        self._shares = Shares()
        self._troubles = Troubles()
        self._last: tuple[NodeStatus, float] | None = None
        self._shown: NodeStatus | None = None
        self._started = 0.0

    def set_health(self, settings: HealthSettings) -> None:
        """From when on something counts as bad, by the topology in force."""
        self._troubles.settings = settings

    def receive_snapshot(self, status: NodeStatus, now: float, wall: float) -> list[Change]:
        """Take in a snapshot; ``now`` is monotonic, ``wall`` Unix time. Returns what deserves a line in the log: that
        an application's protection was reduced, or is whole again."""
        before = self._last
        self._follow_neighbours(status, wall)
        self._follow_paths(status, before[0] if before else status, wall)
        self._shares.receive(status.received, now)
        same = {item.node for item in status.neighbours if self._is_known(item)}
        self._troubles.observe(_samples(status, same), now, same)
        linked = self._with_links(status)
        told = self._guard.receive(linked, now, wall)
        shown = self._annotate(linked)
        self._note(status, before, compare(before[0], shown, wall) if before else [], told, now, wall)
        if before is not None:
            looked = {name: link.at for name, link in self._links.items()}
            record(self.history, before[0], shown, now - before[1], now, looked)
        self._last = (shown, now)
        self._links = {
            taken.node: self._links[taken.node] if taken.node in same else _Link(taken, item, now)
            for taken, item in zip(status.neighbours, shown.neighbours, strict=True)
        }
        self._shown = renewed(shown, change_counts=self._change_counts())
        return told

    @property
    def shown(self) -> NodeStatus:
        """The last snapshot that was taken in, as ``annotate`` gives it."""
        assert self._shown is not None
        return self._shown

    def _note(
        self,
        status: NodeStatus,
        before: tuple[NodeStatus, float] | None,
        changes: list[Change],
        told: list[Change],
        now: float,
        wall: float,
    ) -> None:
        """Everything comes up when a node starts: that is one change. What fails meanwhile is told."""
        if before is None:
            self._started = now
            changes = [Change(wall, Kind.NODE, Tone.INFO, status.name, f"{status.name} started")]
        elif now - self._started < GRACE:
            changes = [change for change in changes if change.tone is Tone.BAD]
        self.changes.add([*changes, *told])

    def annotate(self, status: NodeStatus) -> NodeStatus:
        """The snapshot with since-when, and with the cause where an application is not protected as it should be."""
        return self._annotate(self._with_links(status))

    def _annotate(self, status: NodeStatus) -> NodeStatus:
        applications = tuple(
            renewed(item, since=self._guard.since(item.name), cause=why_reduced(item, status.paths))
            for item in status.applications
        )
        received = self._shares.annotate(status.received)
        return renewed(status, applications=applications, received=received, change_counts=self._change_counts())

    def _change_counts(self) -> dict[str, int]:
        return {f"{kind}/{tone}": count for (kind, tone), count in sorted(self.changes.counts.items())}

    def _with_links(self, status: NodeStatus) -> NodeStatus:
        neighbours = tuple([self._with_link(item) for item in status.neighbours])
        paths = tuple(self._annotated(path) for path in status.paths)
        return renewed(status, neighbours=neighbours, paths=paths)

    def _is_known(self, item: NeighbourStatus) -> bool:
        link = self._links.get(item.node)
        return link is not None and link.taken is item

    def _with_link(self, item: NeighbourStatus) -> NeighbourStatus:
        if self._is_known(item):
            return self._links[item.node].shown
        known = self._neighbours.get(item.node)
        return renewed(item, since=known.since, trouble=self._trouble(item.node)) if known else item

    def _trouble(self, key: str | PathKey, *known: str) -> str:
        found = self._troubles.of(key)
        if not found and not any(known):
            return ""
        return "; ".join([*filter(None, known), *(trouble.text for trouble in found)])

    def _annotated(self, path: PathStatus) -> PathStatus:
        key = (path.peer, path.route)
        trouble = self._trouble(key, narrowness(path))
        if silence := self._silent.get(key):
            detail = silence.detail if path.in_use else f"{AVOIDED}{silence.detail}"
            return renewed(path, since=silence.since, detail=detail, silent=True, trouble=trouble)
        known = self._paths.get(key)
        return renewed(path, since=known.since if known else path.since, trouble=trouble)

    def _follow_neighbours(self, status: NodeStatus, wall: float) -> None:
        before, self._neighbours = self._neighbours, {}
        for item in status.neighbours:
            known = before.get(item.node)
            same = known is not None and known.up == item.up
            self._neighbours[item.node] = known if same and known else _State(item.up, True, wall)

    def _follow_paths(self, status: NodeStatus, before: NodeStatus, wall: float) -> None:
        states, self._paths = self._paths, {}
        silences, self._silent = self._silent, {}
        earlier = {(path.peer, path.route): path for path in before.paths}
        for path in status.paths:
            key = (path.peer, path.route)
            known = states.get(key)
            same = known is not None and (known.up, known.in_use) == (path.up, path.in_use)
            self._paths[key] = known if same and known else _State(path.up, path.in_use, wall)
            silence = silences.get(key)
            if not path.up and (silence or _fell_silent(path, known, self._paths[key], wall)):
                since = self._paths[key].since
                self._silent[key] = silence or _Silence(since, _detail(path, earlier.get(key)))
            elif silence and silence.behind and not path.in_use and wall - silence.since < REMEMBER:
                self._silent[key] = silence


def _fell_silent(path: PathStatus, before: _State | None, now: _State, wall: float) -> bool:
    """It delivered at the last look, even if it has been replaced since; or it had time to."""
    delivered = before is not None and before.up and before.in_use
    return delivered or (path.in_use and wall - now.since >= SETTLE)


def _samples(status: NodeStatus, same: Collection[str]) -> dict[Hashable, Sample]:
    """Of what is up: silence is told in other words. ``same`` neighbours have none."""
    links: dict[Hashable, Sample] = {
        item.node: Sample(item.rtt_ms, item.loss) for item in status.neighbours if item.up and item.node not in same
    }
    probed = [path for path in status.paths if path.up and (path.in_use or path.spare)]
    return {
        **links,
        **{(path.peer, path.route): Sample(path.rtt_ms, path.loss, path.health != "passing") for path in probed},
    }


def _detail(path: PathStatus, before: PathStatus | None) -> str:
    """A block in one direction only shows when copies still come from where ours do not arrive."""
    comes = before is not None and path.kept + path.eliminated > before.kept + before.eliminated
    if comes and "hears nothing" in path.detail:
        return f"one-way block: we hear {path.peer} through {path.route[0]}, it does not hear us"
    return path.detail
