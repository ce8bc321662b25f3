"""What changed from one snapshot of a node to the next, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.changes import Change, Kind, Tone
from braid.status.protection import AVOIDED, towards, way
from braid.status.size import narrowness, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from braid.status.paths import PathStatus
    from braid.status.snapshot import NodeStatus


def compare(before: NodeStatus, after: NodeStatus, wall: float) -> list[Change]:
    """Both with since-when. Protection is the guard's, for it needs more than two snapshots."""
    parts = (_neighbours, _paths, _troubles, _sizes, _path_sets, _gateways, _targets, _topology, _ready)
    return [change for part in parts for change in part(before, after, wall)]


def _neighbours(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    known = {item.node: item for item in before.neighbours}
    for item in after.neighbours:
        old = known.pop(item.node, None)
        if old is item or old is None or old.up == item.up:
            continue
        if item.up:
            yield Change(wall, Kind.NEIGHBOUR, Tone.GOOD, item.node, f"neighbour {item.node} is up", _lasted(old, wall))
        else:
            heard = item.heard_ms_ago
            cause = "nothing was ever heard" if heard is None else f"nothing heard for {heard / 1000:.1f} s"
            yield Change(wall, Kind.NEIGHBOUR, Tone.BAD, item.node, f"neighbour {item.node} is down", cause)
    for name in known:
        yield Change(wall, Kind.NEIGHBOUR, Tone.INFO, name, f"{name} is no neighbour any more", "topology")


def _lasted(old: object, wall: float) -> str:
    since = getattr(old, "since", None)
    return "" if since is None else f"was down for {max(0.0, wall - since):.0f} s"


def _paths(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    known = {(path.peer, path.route): path for path in before.paths}
    for path in after.paths:
        old = known.get((path.peer, path.route))
        if old is None or old.silent == path.silent:
            continue
        subject = towards(path)
        if path.silent:
            yield Change(
                wall, Kind.PATH, Tone.BAD, subject, f"path to {subject} is silent", path.detail.removeprefix(AVOIDED)
            )
        elif path.in_use:
            yield Change(wall, Kind.PATH, Tone.GOOD, subject, f"path to {subject} delivers again", _lasted(old, wall))


def _troubles(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    """Beginnings and ends; a figure that changes meanwhile is no news."""
    links = {item.node: item.trouble for item in before.neighbours}
    for item in after.neighbours:
        old = links.get(item.node, "")
        if old != item.trouble:
            yield from _trouble(Kind.NEIGHBOUR, f"link to {item.node}", item.node, old, item.trouble, wall)
    known = {(path.peer, path.route): path.trouble for path in before.paths}
    for path in after.paths:
        old = known.get((path.peer, path.route), "")
        if old != path.trouble:
            subject = towards(path)
            yield from _trouble(Kind.PATH, f"path to {subject}", subject, old, path.trouble, wall)


def _trouble(kind: Kind, what: str, subject: str, old: str, new: str, wall: float) -> Iterator[Change]:
    if new and not old:
        yield Change(wall, kind, Tone.BAD, subject, f"{what} is in trouble", new)
    elif old and not new:
        yield Change(wall, kind, Tone.GOOD, subject, f"{what} is well again", f"before: {old}")


def _sizes(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    """What a path carries, when that is another size than before; that it begins or ends to carry less is trouble."""
    known = {(path.peer, path.route): path for path in before.paths}
    for path in after.paths:
        old = known.get((path.peer, path.route))
        if old is None or None in (old.mtu, path.mtu) or bool(narrowness(old)) != bool(narrowness(path)):
            continue
        if size(old) != size(path) and path.mtu_state != "searching":
            subject = towards(path)
            less = path.mtu_state == "error" or (path.mtu or 0) < (old.mtu or 0)
            text = f"path to {subject} carries {size(path)}"
            yield Change(
                wall, Kind.PATH, Tone.BAD if less else Tone.GOOD, subject, text, f"found by probes; {size(old)} before"
            )


def _path_sets(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    old, new = _in_use(before), _in_use(after)
    silent = {(path.peer, path.route): path for path in after.paths if path.silent}
    for peer in sorted(old.keys() & new.keys()):
        entered, left = new[peer].keys() - old[peer].keys(), old[peer].keys() - new[peer].keys()
        if not entered and not left:
            continue
        words = [f"{way(new[peer][route])} in" for route in sorted(entered)]
        words += [f"{way(old[peer][route])} out" for route in sorted(left)]
        broken = [silent[peer, route] for route in sorted(left) if (peer, route) in silent]
        reasons = [path.detail.removeprefix(AVOIDED) for path in broken]
        if not reasons and before.topology.revision != after.topology.revision:
            reasons = ["the topology was reloaded"]
        cause = "; ".join(dict.fromkeys(reasons)) or "others are usable or cheaper now"
        yield Change(wall, Kind.PATH_SET, Tone.INFO, peer, f"paths to {peer}: {', '.join(words)}", cause)


def _in_use(status: NodeStatus) -> dict[str, dict[tuple[str, ...], PathStatus]]:
    found: dict[str, dict[tuple[str, ...], PathStatus]] = {}
    for path in status.paths:
        if path.in_use:
            found.setdefault(path.peer, {})[path.route] = path
    return found


def _gateways(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    old = {item.name: item.gateway for item in before.applications}
    usable = {session.peer for session in after.sessions if session.usable and not session.adjacent}
    for item in after.applications:
        previous = old.get(item.name, item.gateway)
        if previous == item.gateway:
            continue
        lost = previous is not None and previous not in usable
        cause = f"no usable session with {previous}" if lost else "it is preferred and usable"
        if previous is not None and not lost and item.gateway is None:
            cause = f"no path to {previous} delivers"
        text = f"{item.name}: new flows go to {item.gateway or 'no gateway'}"
        tone = Tone.BAD if item.gateway is None else Tone.INFO
        yield Change(wall, Kind.GATEWAY, tone, item.name, f"{text}, before to {previous or 'none'}", cause)


def _targets(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    old = {(item.name, target.address): target for item in before.applications for target in item.targets}
    for item in after.applications:
        for target in item.targets:
            previous = old.get((item.name, target.address))
            if previous is None or previous.healthy == target.healthy:
                continue
            word, tone = ("healthy", Tone.GOOD) if target.healthy else ("failing", Tone.BAD)
            text = f"{item.name}: target {target.address} is {word}"
            yield Change(wall, Kind.TARGET, tone, item.name, text, target.detail)


def _topology(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    old, new = before.topology, after.topology
    if old.revision != new.revision:
        text = f"topology {new.revision} is in force"
        yield Change(wall, Kind.TOPOLOGY, Tone.INFO, new.name, text, f"reloaded, before {old.revision}")
    if new.reload_error is not None and old.reload_error != new.reload_error:
        text = "the newest topology file was refused"
        yield Change(wall, Kind.TOPOLOGY, Tone.BAD, new.name, text, new.reload_error)


def _ready(before: NodeStatus, after: NodeStatus, wall: float) -> Iterator[Change]:
    if before.ready == after.ready:
        return
    failing = "; ".join(f"{check.name}: {check.detail}" for check in after.checks if not check.ok)
    tone, word = (Tone.GOOD, "ready") if after.ready else (Tone.BAD, "not ready")
    yield Change(wall, Kind.NODE, tone, after.name, f"{after.name} is {word}", failing)
