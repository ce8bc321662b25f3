"""What of the routing table holds: rows of a topology by the time, and by the topology before it. Pure."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.drains import DrainRow
    from topology.model import Topology
    from topology.transfer import TransferRow

KEPT = 3600.0
"""Seconds for which a row that was removed still says who may have which connections."""


def in_force(topology: Topology, wall: float) -> tuple[DrainRow, ...]:
    return tuple(row for row in topology.drains if row.until is None or wall < row.until)


def takes_transfers(topology: Topology, node: str) -> bool:
    """Whether a content node may be asked to take connections over, for which it needs a TUN."""
    return any(node in row.proxies for row in topology.transfers)


def with_removed(before: Topology, after: Topology, wall: float) -> Topology:
    """``after`` with the rows that it lacks, as rows that hold no more: nothing is offered by them, and the connections
    that proxies have by them go on, and back. They go with the first reload an hour later, and at once with what they
    name."""
    removed: list[TransferRow] = []
    there = {replace(row, until=None) for row in after.transfers}
    for row in before.transfers:
        until = min(wall, inf if row.until is None else row.until)
        kept = _still(replace(row, until=None), before, after)
        if kept is not None and kept not in there and wall - until < KEPT:
            there.add(kept)
            removed.append(replace(kept, until=until))
    return replace(after, transfers=(*after.transfers, *removed)) if removed else after


def _still(row: TransferRow, before: Topology, after: Topology) -> TransferRow | None:
    """What of a row is about applications, proxies and edges that are still there."""
    old, new = before.applications[row.application], after.applications.get(row.application)
    if new is None or new.proxy is None or old.proxy is None or new.proxy.kind != old.proxy.kind:
        return None
    nodes = after.nodes
    proxies = tuple(
        name
        for name in row.proxies
        if name in nodes and (content := nodes[name].content) is not None and row.application in content.applications
    )
    edges = tuple(name for name in row.edges if name in after.regions)
    return replace(row, proxies=proxies, edges=edges) if proxies and bool(edges) == bool(row.edges) else None
