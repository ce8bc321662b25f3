"""What this node measures of its links and paths, and what others tell of theirs, for ``topology.health``. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from topology.held import Measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from braid.status.summary import Summary
    from topology.health import NodePair, Nodes
    from topology.model import Topology


@dataclass(frozen=True, slots=True)
class Reports:
    """What others told since the last time."""

    links: Mapping[NodePair, Measure] = field(default_factory=dict)
    loads: Mapping[str, float] = field(default_factory=dict)
    """Busy share by node."""


def own_links(topology: Topology, name: str, entries: Iterable[Mapping[str, Any]]) -> dict[NodePair, Measure]:
    """From a snapshot's entries of neighbours. One way is half of the round trip: two clocks cannot tell more of one
    link."""
    names = _names(topology)
    found = {}
    for entry in entries:
        if entry.get("up") and entry["node"] in names:
            found[name, names[entry["node"]]] = Measure(_half_ms(entry.get("rtt_us")), entry.get("loss"))
    return found


def own_paths(topology: Topology, name: str, snapshot: Mapping[str, Any]) -> dict[Nodes, Measure]:
    """Those that are probed and arrive, with the round trip as their delay."""
    names = _names(topology)
    found = {}
    for entry in snapshot.get("paths", ()):
        known = [names.get(number) for number in entry["route"]]
        nodes = [name, *(each for each in known if each is not None)]
        if entry.get("loss") is not None and entry.get("arrives") is not False and None not in known:
            rtt = entry.get("rtt_us")
            found[tuple(nodes)] = Measure(None if rtt is None else rtt / 1000, entry["loss"])
    return found


def told(topology: Topology, summaries: Iterable[Summary]) -> Reports:
    """A node is heard about its own links only; what a link loses is measured by the end that sends."""
    names = _names(topology)
    links: dict[NodePair, Measure] = {}
    loads = {}
    for summary in summaries:
        origin = names.get(summary.origin)
        if origin is None:
            continue
        for link in summary.links:
            there = names.get(link.neighbour)
            if link.up and there is not None:
                loss = None if link.loss_ppm is None else min(link.loss_ppm / 1_000_000, 1.0)
                links[origin, there] = Measure(_half_ms(link.rtt_us), loss)
        if summary.load_permille is not None:
            loads[origin] = summary.load_permille / 1000
    return Reports(links, loads)


def _names(topology: Topology) -> dict[int, str]:
    return {int(node.number): node.name for node in topology.nodes.values()}


def _half_ms(round_trip_us: float | None) -> float | None:
    return None if round_trip_us is None else round_trip_us / 2000
