"""Path choice: the disjoint paths between two regions, and through which nodes they go.

Two paths are disjoint when they share no intermediate region and no shared-risk group. Asked for k, the answer holds
as many as there are, at most k, of least total cost. The same topology gives the same answer on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import TYPE_CHECKING

from topology.flow import Between, cheapest_flow
from topology.model import Node, NodeNumber, Role, Topology
from topology.search import cheapest_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_INTERMEDIATES = 4
"""A hop header has room for four nodes behind the one that receives it."""


@dataclass(frozen=True, slots=True)
class Path:
    regions: tuple[str, ...]
    """Intermediate regions, from the source on; at most ``MAX_INTERMEDIATES``."""
    cost: float


@dataclass(frozen=True, slots=True)
class Route:
    nodes: tuple[NodeNumber, ...]
    """Next hop first, destination last."""
    regions: tuple[str, ...]
    cost: float


def disjoint_paths(
    topology: Topology,
    source_region: str,
    destination_region: str,
    copies: int,
    *,
    avoid: frozenset[str] = frozenset(),
) -> tuple[Path, ...]:
    """Up to ``copies`` disjoint paths, cheapest first, none through a region of ``avoid``.

    KeyError for an unknown region; nothing between regions of other roles than edge and gateway. The source may be the
    gateway region: links are the same in both directions.
    """
    ends = (topology.regions[source_region], topology.regions[destination_region])
    if copies < 1 or any(end.role not in (Role.EDGE, Role.GATEWAY) for end in ends):
        return ()
    between = Between(topology, source_region, destination_region, avoid)
    chosen = cheapest_flow(between, copies)
    if not _acceptable(between, chosen):
        chosen = cheapest_set(between, len(chosen), MAX_INTERMEDIATES)
    paths = (Path(regions, between.length(regions)) for regions in chosen)
    return tuple(sorted(paths, key=lambda path: (path.cost, len(path.regions), path.regions)))


def node_routes(
    topology: Topology,
    source_node: str,
    destination_node: str,
    copies: int,
    *,
    usable: Callable[[str], bool],
) -> tuple[Route, ...]:
    """Disjoint paths between two nodes through usable intermediate nodes only, cheapest first.

    Regions without a usable node are avoided. Among several usable nodes of a region the choice depends on the two
    ends: it spreads over the region's nodes, and a node that fails moves only the routes that went through it.
    """
    source, destination = topology.nodes[source_node], topology.nodes[destination_node]
    ready: dict[str, list[Node]] = {}
    for node in topology.nodes.values():
        if node.role is Role.INTERMEDIATE and usable(node.name):
            ready.setdefault(node.region, []).append(node)
    intermediates = (region.name for region in topology.regions.values() if region.role is Role.INTERMEDIATE)
    avoid = frozenset(name for name in intermediates if name not in ready)
    paths = disjoint_paths(topology, source.region, destination.region, copies, avoid=avoid)
    return tuple(
        Route(
            (*(_pick(ready[region], source, destination).number for region in path.regions), destination.number),
            path.regions,
            path.cost,
        )
        for path in paths
    )


def _acceptable(between: Between, chosen: Sequence[tuple[str, ...]]) -> bool:
    if any(len(regions) > MAX_INTERMEDIATES for regions in chosen):
        return False
    risks = [frozenset[str]().union(*(between.risks[region] for region in regions)) for regions in chosen]
    return all(one.isdisjoint(other) for one, other in combinations(risks, 2))


def _pick(nodes: Sequence[Node], source: Node, destination: Node) -> Node:
    def weight(node: Node) -> bytes:
        return blake2b(f"{source.name} {destination.name} {node.name}".encode(), digest_size=8).digest()

    return max(nodes, key=weight)
