"""What of two snapshots goes into the history: rates, round trips, states. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from braid.status.renew import renewed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.status.history import History
    from braid.status.paths import PathStatus, ReceivedStatus
    from braid.status.picture import Overlay
    from braid.status.snapshot import NeighbourStatus, NodeStatus

LATELY = 60.0
"""Seconds that the share of first copies looks back, in steps of ``STEP``."""
STEP = 10.0


def record(
    history: History, before: NodeStatus, after: NodeStatus, seconds: float, now: float, looked: Mapping[str, float]
) -> None:
    """``seconds`` lie between the two. A counter that went back (the session was replaced) is a gap, not a rate.
    ``looked`` says when the neighbours of ``before`` were looked at. One that is the same in both was not since, and
    what is found of it the next time holds for all of this time."""
    if seconds <= 0:
        return
    neighbours = {item.node: item for item in before.neighbours}
    for item in after.neighbours:
        old = neighbours.get(item.node)
        if old is not item:
            since = max(now - looked.get(item.node, now - seconds), 0.001)
            values = _neighbour(old, item, since)
            history.record((after.name, "neighbour", item.node), values, now, max(1, round(since)))
    paths = {(path.peer, path.route): path for path in before.paths}
    for path in after.paths:
        if path.in_use or path.silent:
            values = _path(paths.get((path.peer, path.route)), path, seconds)
            history.record((after.name, "path", path_name(path)), values, now)
    for application in after.applications:
        usable = float(application.copies_usable) if application.copies_wanted else None
        flows = float(application.flows) if after.role == "gateway" else None
        values = {"copies_usable": usable, "flows": flows}
        history.record((after.name, "application", application.name), values, now)


def record_overlay(history: History, seen: Overlay, now: float) -> None:
    """States of links and paths of all nodes; what is unknown is a gap."""
    for link in seen.links:
        values = {"up": _LEVEL.get(link.state), "rtt_ms": link.rtt_ms, "jitter_ms": link.jitter_ms, "loss": link.loss}
        history.record((link.a, "link", link.b), values, now)
    for path in seen.paths:
        values = {"up": _LEVEL.get(path.state), "first_share": path.first_share}
        if path.source != seen.seen_by:
            values |= {"rtt_ms": path.rtt_ms, "loss": path.loss, "mtu": _size(path.mtu)}
        history.record((path.source, "path", _route_name(path.destination, path.route)), values, now)


_LEVEL = {"up": 1.0, "settling": 1.0, "one_way": 0.5, "down": 0.0, "silent": 0.0, "avoided": 0.0}


def path_name(path: PathStatus) -> str:
    """The same as long as the route is the same, whatever number the path has."""
    return _route_name(path.peer, path.route)


def _route_name(peer: str, route: tuple[str, ...]) -> str:
    return f"{peer} via {' > '.join(route[:-1])}" if route[1:] else f"{peer} (direct)"


def _neighbour(before: NeighbourStatus | None, item: NeighbourStatus, seconds: float) -> dict[str, float | None]:
    return {
        "up": float(item.up),
        "rtt_ms": item.rtt_ms if item.up else None,
        "jitter_ms": item.jitter_ms,
        "loss": item.loss,
        "tx_per_s": None if before is None else _rate(before.tx_datagrams, item.tx_datagrams, seconds),
        "rx_per_s": None if before is None else _rate(before.rx_datagrams, item.rx_datagrams, seconds),
    }


def _path(before: PathStatus | None, path: PathStatus, seconds: float) -> dict[str, float | None]:
    return {
        "up": float(path.up and not path.silent),
        "rtt_ms": path.rtt_ms,
        "one_way_ms": path.one_way_ms,
        "jitter_ms": path.jitter_ms,
        "loss": path.loss,
        "mtu": _size(path.mtu),
        "sent_per_s": None if before is None else _rate(before.copies_sent, path.copies_sent, seconds),
        "kept_per_s": None if before is None else _rate(before.kept, path.kept, seconds),
        "eliminated_per_s": None if before is None else _rate(before.eliminated, path.eliminated, seconds),
    }


def _size(mtu: int | None) -> float | None:
    return None if mtu is None else float(mtu)


def _rate(before: int, after: int, seconds: float) -> float | None:
    return (after - before) / seconds if after >= before else None


class Shares:
    """Which path of a peer brought the first copies of the last minute."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[tuple[str, int, str], int]]] = deque()

    def receive(self, received: tuple[ReceivedStatus, ...], now: float) -> None:
        if not self._looks or now - self._looks[-1][0] >= STEP:
            self._looks.append((now, {(item.peer, item.id, item.via): item.kept for item in received}))
        while now - self._looks[0][0] > LATELY:
            self._looks.popleft()

    def annotate(self, received: tuple[ReceivedStatus, ...]) -> tuple[ReceivedStatus, ...]:
        before = self._looks[0][1] if self._looks else {}
        kept = {}
        sums: dict[str, int] = {}
        for item in received:
            key = (item.peer, item.id, item.via)
            kept[key] = max(0, item.kept - before.get(key, 0 if before else item.kept))
            sums[item.peer] = sums.get(item.peer, 0) + kept[key]
        return tuple(
            renewed(item, first_share=kept[item.peer, item.id, item.via] / sums[item.peer]) if sums[item.peer] else item
            for item in received
        )
