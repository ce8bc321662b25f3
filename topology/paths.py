"""From chosen regions to nodes: through which node of each region a path goes, and when paths in use are left."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING

from topology.model import Node, NodeNumber, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from topology.health import Health
    from topology.model import HealthSettings
    from topology.planner import Choice, Planner

LEAST_SHARE = 0.01
"""Of a node that is fully loaded; 0 would move all its routes away at once, and back at once."""


@dataclass(frozen=True, slots=True)
class Route:
    nodes: tuple[NodeNumber, ...]
    """Next hop first, destination last."""
    regions: tuple[str, ...]
    cost: float


@dataclass(frozen=True, slots=True)
class Routes:
    routes: tuple[Route, ...] = ()
    """Cheapest first; no two cross the same intermediate node."""
    overlap: tuple[str, ...] = ()
    """What they share all the same; empty when they are disjoint."""
    without: frozenset[str] = frozenset()
    """Intermediate nodes that could not be used."""

    @property
    def regions(self) -> tuple[tuple[str, ...], ...]:
        return tuple(route.regions for route in self.routes)


def node_routes(
    planner: Planner,
    source_node: str,
    destination_node: str,
    copies: int,
    *,
    usable: Callable[[str], bool],
    health: Health | None = None,
    kept: Sequence[tuple[str, ...]] = (),
) -> Routes:
    """Paths between two nodes through usable intermediate nodes only.

    ``kept`` are the regions of the paths in use, which stay as long as others would not gain what the topology's
    ``health`` asks for. Among several usable nodes of a region those count to which the links are as good as to the
    best. Of these the choice depends on the two ends: it spreads in proportion to what each node's load leaves of it,
    and a node that fails or fills up moves only routes that went through it.
    """
    topology = planner.topology
    source, destination = topology.nodes[source_node], topology.nodes[destination_node]
    without = frozenset(node.name for node in topology.by_role(Role.INTERMEDIATE) if not usable(node.name))
    ends = (source.region, destination.region)
    choice = planner.choose(*ends, copies, without=without)
    staying = planner.again(*ends, kept, without=without) if kept else None
    if staying is not None and not _clearly_better(planner, choice, staying):
        choice = staying
    taken: set[str] = set()
    routes = []
    for path in choice.paths:
        nodes: list[NodeNumber] = []
        before = source
        for region in path.regions:
            ready = tuple(node for node in topology.nodes_of(region) if node.name not in without | taken)
            last = region == path.regions[-1]
            if health is not None:
                ready = _healthy(ready, before, destination if last else None, health, topology.health)
            picked = before = _pick(ready, source, destination, health.loads if health else {})
            taken.add(picked.name)
            nodes.append(picked.number)
        routes.append(Route((*nodes, destination.number), path.regions, path.cost))
    return Routes(tuple(routes), choice.overlap, without)


def _clearly_better(planner: Planner, choice: Choice, staying: Choice) -> bool:
    if len(choice.paths) != len(staying.paths) or (staying.overlap and choice.overlap != staying.overlap):
        return True
    limits = planner.topology.health
    before = planner.total(staying)
    return before - planner.total(choice) > max(limits.gain * before, limits.gain_ms)


def _healthy(
    ready: Sequence[Node], before: Node, after: Node | None, health: Health, limits: HealthSettings
) -> tuple[Node, ...]:
    """Without those whose links are clearly worse than the best one's; what is not measured counts as the best."""
    arriving = _filled({node.name: health.node_cost(before.name, node.name) for node in ready})
    leaving = _filled({node.name: health.node_cost(node.name, after.name) if after else None for node in ready})
    costs = {name: cost + leaving[name] for name, cost in arriving.items()}
    best = min(costs.values())
    limit = best + max(limits.gain * best, limits.gain_ms)
    return tuple(node for node in ready if costs[node.name] <= limit)


def _filled(costs: Mapping[str, float | None]) -> dict[str, float]:
    best = min((cost for cost in costs.values() if cost is not None), default=0.0)
    return {name: best if cost is None else cost for name, cost in costs.items()}


def _pick(nodes: Sequence[Node], source: Node, destination: Node, load: Mapping[str, float]) -> Node:
    """Weighted rendezvous hashing (Mosko, Schindelhauer and Schomaker): each node wins in proportion to its weight."""

    def score(node: Node) -> float:
        digest = blake2b(f"{source.name} {destination.name} {node.name}".encode(), digest_size=8).digest()
        uniform = (int.from_bytes(digest) + 0.5) / 2**64
        return -max(LEAST_SHARE, 1 - load.get(node.name, 0.0)) / log(uniform)

    return max(nodes, key=score)
