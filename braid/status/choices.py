"""What carries each application between its edge and its gateway, in either direction, and how well. Pure."""

from __future__ import annotations

from braid.status.picture import ApplicationInfo, Choice, Overlay, PathInfo, SetInfo
from topology.model import Role


def choices(seen: Overlay, node: str | None = None) -> tuple[Choice, ...]:
    """Worst first; ``node`` limits it to those which that node has a part in."""
    edges = {item.name: item for item in seen.nodes if item.role == Role.EDGE.value}
    found = []
    for item in seen.applications:
        if item.node in edges and item.gateway is not None:
            both = (item.node, item.gateway)
            if node is None or node in both:
                found += [_choice(seen, item, *both), _choice(seen, item, *reversed(both))]
    return tuple(sorted(found, key=lambda choice: (_WORST.index(choice.state), choice.edge, choice.application)))


_WORST = ("down", "reduced", "unknown", "protected")


def _choice(seen: Overlay, item: ApplicationInfo, source: str, destination: str) -> Choice:
    paths = tuple(path for path in seen.paths if (path.source, path.destination) == (source, destination))
    usable = [path for path in paths if path.state in ("up", "settling")]
    towards_gateway = source == item.node
    count = item.copies_usable if towards_gateway else min(len(usable), item.copies_wanted)
    state = "down" if not count else "protected" if count >= item.copies_wanted else "reduced"
    if item.stale or not paths:
        state = "unknown"
    cause = item.cause
    if not towards_gateway and state == "reduced":
        broken = [path for path in paths if path.state in ("silent", "avoided")]
        cause = "; ".join(f"path via {' > '.join(path.regions)} is silent" for path in broken)
    sentence = f"protected by {count} of {item.copies_wanted}" + (f": {cause}" if cause else "")
    since = item.since if towards_gateway else max((path.since for path in paths if path.since), default=None)
    chosen = next(
        (each for each in seen.sets if _is(each, source, destination) and each.copies == item.copies_wanted), None
    )
    came = next((each for each in seen.sets if _is(each, destination, source)), None)
    return Choice(
        edge=item.node,
        gateway=item.gateway or "",
        direction="to_gateway" if towards_gateway else "to_edge",
        application=item.name,
        state=state,
        sentence="nothing was heard of it lately" if state == "unknown" else sentence,
        since=since,
        why=chosen.why if chosen else "",
        joint_loss=chosen.joint_lost / chosen.joint_probes if chosen and chosen.joint_probes else None,
        joint_probes=chosen.joint_probes if chosen else None,
        repaired=_repaired(paths, came, item.copies_wanted),
        passed=came.passed if came else None,
        eliminated=came.discarded if came else None,
        out_of_order=came.out_of_order if came else None,
        lost=came.lost if came else None,
        paths=tuple(sorted(paths, key=lambda path: (path.state == "up", path.id))),
        changes=tuple(change for change in seen.changes if change.node == source)[:5],
    )


def _is(each: SetInfo, source: str, destination: str) -> bool:
    return (each.source, each.destination) == (source, destination)


def _repaired(paths: tuple[PathInfo, ...], came: SetInfo | None, copies: int) -> int | None:
    """Of what is lost altogether every copy was lost."""
    lost = [path.lost for path in paths if path.lost is not None]
    return max(0, sum(lost) - copies * came.lost) if lost and came else None
