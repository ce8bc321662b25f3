"""How well each application of an edge is protected, since when and why not fully. Pure.

Bad news counts at once, good news when it has held for ``HOLD``: a path that flaps each second is one reduction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.status.changes import Change, Kind, Tone, clock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from braid.status.paths import PathStatus
    from braid.status.snapshot import ApplicationStatus, NodeStatus

HOLD = 3.0
"""Seconds of better protection before it is believed."""
AVOIDED = "avoided: "
"""Before the detail of a path that is not in use because it was silent."""
GRACE = 5.0
"""Seconds that a node has after its start to find its paths before a want of them is news."""


@dataclass(slots=True)
class _State:
    usable: int
    """What was told last."""
    wanted: int
    since: float
    first_seen: float
    better_from: float | None = None
    settled: bool = False
    """False until something was told: at the start nobody knows what to expect."""


class Guard:
    def __init__(self) -> None:
        self._states: dict[str, _State] = {}

    def receive(self, status: NodeStatus, now: float, wall: float) -> list[Change]:
        """What became worse, or better for good. ``now`` is monotonic, ``wall`` Unix time."""
        applications = [item for item in status.applications if item.copies_wanted]
        for gone in self._states.keys() - {item.name for item in applications}:
            del self._states[gone]
        told = (self._judge(item, status.paths, now, wall) for item in applications)
        return [change for change in told if change is not None]

    def since(self, application: str) -> float | None:
        """Unix time since when its protection is what was told last."""
        state = self._states.get(application)
        return state.since if state else None

    def _judge(self, item: ApplicationStatus, paths: Iterable[PathStatus], now: float, wall: float) -> Change | None:
        state = self._states.get(item.name)
        if state is None:
            state = self._states[item.name] = _State(item.copies_usable, item.copies_wanted, wall, now)
        whole = item.copies_usable >= item.copies_wanted
        if not whole and any(_settling(path, item) for path in paths):
            return None
        if not state.settled:
            if not whole and now - state.first_seen < GRACE:
                return None
            state.settled, state.usable, state.wanted, state.since = True, item.copies_usable, item.copies_wanted, wall
            return None if whole else _reduced(item, paths, wall)
        if (item.copies_usable, item.copies_wanted) == (state.usable, state.wanted):
            state.better_from = None
            return None
        if item.copies_usable > state.usable and not self._has_held(state, now):
            return None
        before, since = state.usable, state.since
        better = item.copies_usable > before
        state.usable, state.wanted, state.since, state.better_from = item.copies_usable, item.copies_wanted, wall, None
        if whole and not better:
            return None
        return _restored(item, wall, wall - since) if whole else _reduced(item, paths, wall)

    def _has_held(self, state: _State, now: float) -> bool:
        if state.better_from is None:
            state.better_from = now
        return now - state.better_from >= HOLD


def _settling(path: PathStatus, application: ApplicationStatus) -> bool:
    """It just came into use, and the peer's report on it is on its way."""
    return path.in_use and not path.up and not path.silent and application.gateway in (None, path.peer)


def why_reduced(application: ApplicationStatus, paths: Iterable[PathStatus]) -> str:
    """The silent paths to its gateway, newest silence first; empty while it is protected as wanted."""
    if application.copies_usable >= application.copies_wanted:
        return ""
    silent = [path for path in paths if path.silent and application.gateway in (None, path.peer)]
    if not silent:
        return "no other disjoint path is known" if application.copies_usable else "no session with any gateway"
    silent.sort(key=lambda path: -(path.since or 0.0))
    return "; ".join(silence(path) for path in silent[:3])


def silence(path: PathStatus) -> str:
    when = f" since {clock(path.since)}" if path.since is not None else ""
    return f"path via {way(path)} is silent{when}"


def towards(path: PathStatus) -> str:
    """Where a path leads, and through which regions."""
    return f"{path.peer} via {way(path)}" if path.regions else f"{path.peer} (direct)"


def way(path: PathStatus) -> str:
    return " > ".join(path.regions) or "no intermediate"


def sentence(application: ApplicationStatus) -> str:
    """ "protected by 1 of 2: path via mid-ams is silent since 12:03:04 UTC"."""
    text = f"protected by {application.copies_usable} of {application.copies_wanted}"
    return f"{text}: {application.cause}" if application.cause else text


def _reduced(item: ApplicationStatus, paths: Iterable[PathStatus], wall: float) -> Change:
    text = f"{item.name} is protected by {item.copies_usable} of {item.copies_wanted}"
    return Change(wall, Kind.PROTECTION, Tone.BAD, item.name, text, why_reduced(item, paths))


def _restored(item: ApplicationStatus, wall: float, lasted: float) -> Change:
    text = f"{item.name} is protected by {item.copies_usable} of {item.copies_wanted} again"
    return Change(wall, Kind.PROTECTION, Tone.GOOD, item.name, text, f"was less for {lasted:.0f} s")
