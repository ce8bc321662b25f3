"""What a node tells the others of itself, so that any of them can show the whole overlay. Values; numbers, not names.

It is for people to look at, and says what links elsewhere cost. A member could say what it likes of others: so it makes
no path unusable, and what a node measures itself counts for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.status.protection import AVOIDED
from braid.status.size import narrowness
from braid.status.snapshot import Recovery

if TYPE_CHECKING:
    from braid.status.changes import Change
    from braid.status.paths import PathSetStatus, PathStatus
    from braid.status.redundancy import RedundancyStatus
    from braid.status.snapshot import NodeStatus
    from topology.model import Topology

TOLD_CHANGES = 5
TEXT = 120
"""Characters of a text that are told."""
LONG_TEXT = 190
"""Of the reason for a choice."""


@dataclass(frozen=True, slots=True)
class LinkReport:
    neighbour: int
    up: bool
    since_s: int | None
    """Seconds for which it has been so."""
    rtt_us: int | None
    jitter_us: int | None
    loss_ppm: int | None


@dataclass(frozen=True, slots=True)
class PathReport:
    peer: int
    id: int
    up: bool
    in_use: bool
    silent: bool
    since_s: int | None
    sent: int
    rtt_us: int | None
    one_way_us: int | None
    jitter_us: int | None
    loss_ppm: int | None
    route: tuple[int, ...]
    """Next hop first, peer last."""
    detail: str
    """Why it is silent, or what is worse than it should be."""
    reported: int | None = None
    """Copies whose fate the peer has reported, and those of them that it did not receive. None: it was not told."""
    lost: int | None = None
    mtu: int | None = None
    """Bytes of the largest inner packet that it carries; None: not known, or told by an older version."""


@dataclass(frozen=True, slots=True)
class SetReport:
    """Of a peer: why these paths go there, and what came from there on all paths together."""

    peer: int
    copies: int
    joint_probes: int
    joint_lost: int
    passed: int
    """802.1CB counters of the session with the peer, as this node receives."""
    discarded: int
    out_of_order: int
    lost: int
    why: str


@dataclass(frozen=True, slots=True)
class RedundancyReport:
    """What an application with a target loss is worth on the way to a peer (``braid.status.redundancy``)."""

    peer: int
    application: str
    verdict: str
    text: str
    surging: bool
    using: int
    candidates: int
    target_ppb: int
    """Parts per billion."""
    estimate_ppb: int
    bound_ppb: int
    mean_copies_permille: int
    budget_permille: int
    surges: int
    longest_surge_s: int
    settled: int
    repaired: int
    lost: int


@dataclass(frozen=True, slots=True)
class ArrivalReport:
    """What came over a path of a peer; ``id`` is the peer's."""

    peer: int
    id: int
    via: int
    kept: int
    eliminated: int
    first_permille: int | None
    """Of the peer's first copies of the last minute."""


@dataclass(frozen=True, slots=True)
class ApplicationSummary:
    name: str
    wanted: int
    """0 at a gateway."""
    usable: int
    gateway: int
    """0 for none."""
    since_s: int | None
    flows: int
    targets: int
    healthy: int
    cause: str


@dataclass(frozen=True, slots=True)
class ChangeReport:
    age_s: int
    kind: str
    tone: str
    text: str
    cause: str


@dataclass(frozen=True, slots=True)
class Summary:
    origin: int
    ready: bool
    draining: bool
    truncated: bool
    """There was more to tell than fits."""
    revision: str
    """12 hex digits, or fewer."""
    uptime_s: int
    problem: str
    """Why it is not ready."""
    links: tuple[LinkReport, ...] = ()
    paths: tuple[PathReport, ...] = ()
    arrivals: tuple[ArrivalReport, ...] = ()
    applications: tuple[ApplicationSummary, ...] = ()
    changes: tuple[ChangeReport, ...] = ()
    sets: tuple[SetReport, ...] = ()
    redundancy: tuple[RedundancyReport, ...] = ()
    load_permille: int | None = None
    """Of the node's cores that its shards may use, how much it is busy; None: it did not say."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    permille: int


def summary_of(status: NodeStatus, topology: Topology, changes: tuple[Change, ...], wall: float) -> Summary:
    """Worst first, so that what is cut off is what matters least. What has left the topology is left out."""
    numbers = {node.name: int(node.number) for node in topology.nodes.values()}

    def seconds(since: float | None) -> int | None:
        return None if since is None else max(0, int(wall - since))

    links = [
        LinkReport(numbers[item.node], item.up, seconds(item.since), micros(item.rtt_ms), micros(item.jitter_ms),
                   _ppm(item.loss))
        for item in status.neighbours if item.node in numbers
    ]  # fmt: skip
    paths = [
        PathReport(
            numbers[path.peer], path.id, path.up, path.in_use, path.silent, seconds(path.since), path.copies_sent,
            micros(path.rtt_ms), micros(path.one_way_ms), micros(path.jitter_ms), _ppm(path.loss),
            tuple(numbers[name] for name in path.route),
            plain(path.detail.removeprefix(AVOIDED) if path.silent else _worse(path)),
            path.reported, path.lost, path.mtu,
        )
        for path in status.paths if (path.in_use or path.silent) and all(name in numbers for name in path.route)
    ]  # fmt: skip
    arrivals = [
        ArrivalReport(numbers[item.peer], item.id, numbers[item.via], item.kept, item.eliminated,
                      None if item.first_share is None else round(item.first_share * 1000))
        for item in status.received if item.peer in numbers and item.via in numbers
    ]  # fmt: skip
    applications = [
        ApplicationSummary(
            item.name, item.copies_wanted, item.copies_usable, numbers.get(item.gateway or "", 0), seconds(item.since),
            item.flows, len(item.targets), sum(target.healthy for target in item.targets), plain(item.cause),
        )
        for item in status.applications
    ]  # fmt: skip
    failing = [check for check in status.checks if not check.ok]
    return Summary(
        origin=status.number,
        ready=status.ready,
        draining=any(check.name == "staying" for check in failing),
        truncated=False,
        revision=status.topology.revision[:12],
        uptime_s=int(status.uptime_s),
        problem=plain("; ".join(f"{check.name}: {check.detail}" for check in failing)),
        links=tuple(sorted(links, key=lambda item: item.up)),
        paths=tuple(sorted(paths, key=lambda path: path.up and not path.silent)),
        arrivals=tuple(arrivals),
        applications=tuple(sorted(applications, key=lambda item: item.usable - item.wanted)),
        changes=tuple(
            ChangeReport(max(0, int(wall - change.at)), change.kind, change.tone, plain(change.text),
                         plain(change.cause))
            for change in changes[:TOLD_CHANGES]
        ),
        sets=tuple(_set(each, status, numbers) for each in status.path_sets if each.peer in numbers),
        redundancy=tuple(_redundancy(each, numbers) for each in status.redundancy if each.peer in numbers),
        load_permille=None if status.load is None else round(status.load * 1000),
    )  # fmt: skip


def _worse(path: PathStatus) -> str:
    return "; ".join(filter(None, (path.trouble, narrowness(path))))


def _set(each: PathSetStatus, status: NodeStatus, numbers: dict[str, int]) -> SetReport:
    found = (item.recovery for item in status.sessions if item.peer == each.peer and not item.adjacent)
    came = next((recovery for recovery in found if recovery is not None), Recovery())
    return SetReport(
        numbers[each.peer], each.number, each.joint_probes, each.joint_lost, came.passed, came.discarded,
        came.out_of_order, came.lost, plain(each.why, LONG_TEXT),
    )  # fmt: skip


def _redundancy(each: RedundancyStatus, numbers: dict[str, int]) -> RedundancyReport:
    return RedundancyReport(
        peer=numbers[each.peer],
        application=each.application,
        verdict=each.verdict,
        text=plain(each.text),
        surging=each.mode == "surge",
        using=len(each.using),
        candidates=each.candidates,
        target_ppb=round(each.target * 1e9),
        estimate_ppb=round(each.estimate * 1e9),
        bound_ppb=round(each.bound * 1e9),
        mean_copies_permille=round(each.mean_copies * 1000),
        budget_permille=round(each.budget * 1000),
        surges=each.surges,
        longest_surge_s=round(each.longest_surge_s),
        settled=each.settled,
        repaired=each.repaired,
        lost=each.lost,
    )


def plain(text: str, limit: int = TEXT) -> str:
    """One line of printable characters, at most ``limit`` of them."""
    return "".join(character if character.isprintable() else " " for character in text[:limit])


def micros(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1000)


def _ppm(ratio: float | None) -> int | None:
    return None if ratio is None else round(ratio * 1_000_000)
