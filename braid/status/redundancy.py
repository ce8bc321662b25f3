"""How applications with a target loss fare, as the node shows it: verdict in words, paths, ledger. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid.desired import TARGETS
from braid.status.families import counter, gauge
from braid.status.table import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from braid.redundancy.node import Standing
    from topology.model import Topology

LABELS = ("application", "peer")
TONES = {"MET": "good", "NOT PROVABLE YET": "dim", "BEST EFFORT": "warn", "BUDGET": "warn", "NOT DIVERSE": "bad"}


@dataclass(frozen=True, slots=True)
class RedundancyStatus:
    """One application with a target loss, in the direction from this node to one peer."""

    application: str
    peer: str
    target: float
    mode: str
    """"steady" or "surge"."""
    verdict: str
    """MET, NOT PROVABLE YET, BEST EFFORT, BUDGET or NOT DIVERSE."""
    text: str
    """The verdict with its reason."""
    estimate: float
    """Joint loss of the paths in use."""
    bound: float
    """Its 95 % upper bound."""
    using: tuple[str, ...]
    """Each path in use, by the nodes crossed."""
    candidates: int
    packets_per_s: float
    packets: int
    copies_sent: int
    copied_bytes: int
    """Of all copies but the first of each packet."""
    mean_copies: float
    budget: float
    """Mean copies that a day may have."""
    settled: int
    """Packets of which it is known what came; of them:"""
    repaired: int
    """a copy was lost, and another one came"""
    lost: int
    """no copy came."""
    bytes_per_repair: float | None
    changes: int
    """Times that the set of paths was changed."""
    surges: int
    surge_s: float
    longest_surge_s: float
    surge_cause: str
    """Of the last surge."""


def redundancy_statuses(
    standings: Iterable[Standing], topology: Topology, applications: Sequence[str]
) -> tuple[RedundancyStatus, ...]:
    return tuple(_status(each, topology, applications) for each in standings)


def _status(each: Standing, topology: Topology, applications: Sequence[str]) -> RedundancyStatus:
    application, ledger, verdict = each.application, each.application.ledger, each.verdict
    names = {int(node.number): node.name for node in topology.nodes.values()}
    number = each.set - TARGETS
    policy = application.policy
    return RedundancyStatus(
        application=applications[number] if number < len(applications) else f"#{number}",
        peer=names.get(each.peer, f"#{each.peer}"),
        target=policy.target,
        mode=application.mode.value,
        verdict=verdict.word.value,
        text=verdict.text,
        estimate=min(1.0, verdict.estimate),
        bound=min(1.0, verdict.bound),
        using=tuple(
            " > ".join(names.get(node, f"#{node}") for node in choice.route[:-1])
            for choice in each.choices
            if choice.id in application.sent_on
        ),
        candidates=len(each.choices),
        packets_per_s=each.rate,
        packets=ledger.packets,
        copies_sent=ledger.copies,
        copied_bytes=ledger.bytes_of_copies,
        mean_copies=ledger.mean_copies,
        budget=policy.budget * policy.min_copies,
        settled=ledger.settled,
        repaired=ledger.repaired,
        lost=ledger.all_lost,
        bytes_per_repair=ledger.bytes_per_repair,
        changes=application.changes,
        surges=ledger.surges,
        surge_s=ledger.surge_seconds,
        longest_surge_s=ledger.longest_surge,
        surge_cause=application.surge_cause,
    )


def redundancy_table(documents: Mapping[str, Mapping[str, Any]]) -> Table:
    """One line per application and direction."""
    rows = tuple(
        (
            Cell(item["application"]),
            Cell(f"{name} > {item['peer']}"),
            Cell(f"{item['target']:.1g}"),
            Cell(item["text"], TONES.get(item["verdict"], "")),
            Cell(f"{len(item['using'])} of {item['candidates']}", "warn" if item["mode"] == "surge" else ""),
            Cell(f"{item['estimate']:.1e}, at most {item['bound']:.1e}"),
            Cell(f"{item['mean_copies']:.3f} of {item['budget']:.3g}"),
            Cell(f"{item['repaired']:,}"),
            Cell(f"{item['lost']:,} of {item['settled']:,}"),
        )
        for name, document in documents.items()
        for item in document.get("redundancy", ())
    )
    columns = ("Application", "From > To", "Target", "Verdict", "Paths", "Joint loss", "Copies", "Repaired", "Lost")
    return Table("Redundancy", columns, frozenset({"Target", "Copies", "Repaired", "Lost"}), rows)


def redundancy_metrics(items: Sequence[RedundancyStatus]) -> Iterator[Metric]:
    keys = [((item.application, item.peer), item) for item in items]
    yield gauge("braid_joint_loss_target", "Target of the joint loss", LABELS, [(k, i.target) for k, i in keys])
    yield gauge(
        "braid_joint_loss_estimate", "Estimated joint loss of the paths in use", LABELS,
        [(k, i.estimate) for k, i in keys],
    )  # fmt: skip
    yield gauge(
        "braid_joint_loss_bound", "95 % upper bound of the joint loss of the paths in use", LABELS,
        [(k, i.bound) for k, i in keys],
    )  # fmt: skip
    yield gauge(
        "braid_redundancy_verdict", "1 for what holds of the target now", (*LABELS, "verdict"),
        [((*k, word), float(i.verdict == word)) for k, i in keys for word in TONES],
    )  # fmt: skip
    yield gauge(
        "braid_redundancy_paths", "Paths on which packets of the application go now", LABELS,
        [(k, len(i.using)) for k, i in keys],
    )  # fmt: skip
    for name, text, value in _COUNTERS:
        yield counter(name, text, LABELS, [(k, getattr(i, value)) for k, i in keys])


_COUNTERS = (
    ("braid_redundancy_packets", "Packets of applications with a target loss", "packets"),
    ("braid_redundancy_sent_copies", "Copies of them that were sent", "copies_sent"),
    ("braid_redundancy_copied_bytes", "Bytes of all copies but the first of each packet", "copied_bytes"),
    ("braid_redundancy_settled_packets", "Packets of which it is known what came", "settled"),
    ("braid_redundancy_repaired_packets", "Packets of which a copy was lost and another one came", "repaired"),
    ("braid_redundancy_lost_packets", "Packets of which no copy came", "lost"),
    ("braid_redundancy_surges", "Times that trouble was met by more copies", "surges"),
    ("braid_redundancy_surge_seconds", "Time during which there were more copies", "surge_s"),
    ("braid_redundancy_changes", "Changes of the set of paths in use", "changes"),
)
