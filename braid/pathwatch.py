"""Which paths are broken behind their first hop: the peer's word on what it hears in, nodes to avoid out. Pure.

A path counts as broken when the peer says in two looks in a row that it hears nothing on it, some time after it came
into use. It is avoided for a while, longer each time, and then given another chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOK_EVERY = 0.5
"""Seconds between looks at which paths arrive."""
MEASURE_EVERY = 1.0
"""Seconds between looks at what links and paths are measured to be."""
GRACE = 1.5
"""Seconds a new path has before the peer must have heard something on it: it reports on the last second."""
CONFIRM = 2
"""Looks in a row: the probes on a lossy path may miss one second, hardly two."""
HOLD = (10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
"""Seconds for which a broken path is avoided, by how often it broke before."""
FORGIVEN_AFTER = 60.0
"""Seconds in working order after which earlier failures no longer count."""


@dataclass(frozen=True, slots=True)
class PathSample:
    peer: int
    route: tuple[int, ...]
    arrives: bool | None
    """Whether the peer hears it; None while nothing is known."""


@dataclass(slots=True)
class _Path:
    since: float
    """When it came into use, or was last found broken."""
    in_use: bool = True
    misses: int = 0
    failures: int = 0
    avoided_until: float = 0.0
    arrives: bool = False


def samples(snapshot: dict[str, Any]) -> list[PathSample]:
    """The paths in use, from the core's snapshot."""
    return [
        PathSample(path["peer"], tuple(path["route"]), path.get("arrives"))
        for path in snapshot.get("paths", ())
        if path.get("in_use", True)
    ]


def round_trips(snapshot: dict[str, Any]) -> dict[int, float]:
    """Milliseconds to each peer on the quickest of the paths that packets take: the first copy counts."""
    found: dict[int, float] = {}
    for path in snapshot.get("paths", ()):
        microseconds = path.get("rtt_us")
        if microseconds is not None and path.get("active") and path.get("arrives") is not False:
            found[path["peer"]] = min(found.get(path["peer"], inf), microseconds / 1000)
    return found


class PathWatch:
    def __init__(self) -> None:
        self._paths: dict[tuple[int, tuple[int, ...]], _Path] = {}
        self._avoided: dict[int, frozenset[int]] = {}

    def observe(self, looked_at: Iterable[PathSample], now: float) -> bool:
        """Take in what is known of all paths in use. True when the nodes to avoid are others than before."""
        seen = {(sample.peer, sample.route): sample.arrives for sample in looked_at}
        for key, path in list(self._paths.items()):
            if key not in seen and now >= path.avoided_until + HOLD[-1]:
                del self._paths[key]
            elif key not in seen:
                path.in_use, path.arrives, path.misses = False, False, 0
        for key, arrives in seen.items():
            known = self._paths.get(key)
            if known is None:
                self._paths[key] = known = _Path(now)
            elif not known.in_use:
                known.in_use, known.since = True, now
            _judge(known, arrives, now)
        before, self._avoided = self._avoided, self._to_avoid(now)
        return before != self._avoided

    def avoid(self, peer: int) -> frozenset[int]:
        """Numbers of the nodes that paths to this peer should not use if there are others."""
        return self._avoided.get(peer, frozenset())

    def _to_avoid(self, now: float) -> dict[int, frozenset[int]]:
        suspects: dict[int, set[int]] = {}
        good: dict[int, set[int]] = {}
        for (peer, route), path in self._paths.items():
            if path.arrives:
                good.setdefault(peer, set()).update(route[:-1])
            elif now < path.avoided_until:
                suspects.setdefault(peer, set()).update(route[:-1])
        found = {peer: frozenset(nodes - good.get(peer, set())) for peer, nodes in suspects.items()}
        return {peer: nodes for peer, nodes in found.items() if nodes}


def _judge(path: _Path, arrives: bool | None, now: float) -> None:
    path.arrives = arrives is True
    if arrives is not False:
        path.misses = 0
        if arrives:
            path.avoided_until = 0.0
            if path.failures and now - path.since > FORGIVEN_AFTER:
                path.failures = 0
        return
    if now - path.since < GRACE or now < path.avoided_until:
        return
    path.misses += 1
    if path.misses >= CONFIRM:
        path.avoided_until = now + HOLD[min(path.failures, len(HOLD) - 1)]
        path.failures += 1
        path.misses, path.since = 0, now
