"""The graph of regions, and who is whose neighbour."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from topology.model import Link, Node, Region, Role, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

LINKABLE = frozenset(
    {
        frozenset({Role.EDGE, Role.INTERMEDIATE}),
        frozenset({Role.GATEWAY, Role.INTERMEDIATE}),
        frozenset({Role.INTERMEDIATE}),
    }
)
"""Roles between whose regions a link may lie."""
BESIDE = frozenset({Role.DNS, Role.CONTENT})
"""Roles on no path of the overlay: their nodes are neighbours of every edge, without a link. Content proxies are also
neighbours of the gateways that may transfer connections to them."""


def default_links(regions: Iterable[Region]) -> tuple[Link, ...]:
    """Every edge and gateway region to every intermediate region at cost 1, in the order of the file."""
    ordered = tuple(regions)
    intermediates = [region.name for region in ordered if region.role is Role.INTERMEDIATE]
    ends = [region.name for region in ordered if region.role in (Role.EDGE, Role.GATEWAY)]
    return tuple(Link(end, middle, 1.0) for end in ends for middle in intermediates)


def neighbour_regions(topology: Topology, region: str) -> tuple[str, ...]:
    """Regions whose nodes are neighbours of this one's, in the order of the file."""
    role = topology.regions[region].role
    linked = {link.b if link.a == region else link.a for link in topology.links if region in (link.a, link.b)}
    others = BESIDE if role is Role.EDGE else {Role.EDGE} if role in BESIDE else ()
    linked |= {candidate.name for candidate in topology.regions.values() if candidate.role in others}
    if role in (Role.GATEWAY, Role.CONTENT) and topology.transfers:
        pairs = transfer_regions(topology)
        linked |= {other for pair in pairs if region in pair for other in pair if other != region}
    return tuple(name for name in topology.regions if name in linked)


def transfer_regions(topology: Topology) -> frozenset[tuple[str, str]]:
    """Gateway regions and the content regions that they may transfer connections to."""
    return frozenset(
        (gateway, topology.nodes[proxy].region)
        for row in topology.transfers
        for gateway in topology.applications[row.application].gateways
        for proxy in row.proxies
    )


def neighbours(topology: Topology, node: str) -> tuple[Node, ...]:
    """Nodes with which this one has an adjacent session, in the order of the file. KeyError for an unknown node."""
    regions = frozenset(neighbour_regions(topology, topology.nodes[node].region))
    beside = frozenset(siblings(topology, node))
    return tuple(
        candidate for candidate in topology.nodes.values() if candidate.region in regions or candidate.name in beside
    )


def siblings(topology: Topology, node: str) -> tuple[str, ...]:
    """The other gateways of a gateway's region: its connections may go to them."""
    own = topology.nodes[node]
    if own.role is not Role.GATEWAY:
        return ()
    return tuple(each.name for each in topology.nodes_of(own.region) if each.name != node)


def neighbour_counts(topology: Topology) -> dict[str, int]:
    """How many nodes ``neighbours`` gives for each node, in one pass over links, nodes and transfers."""
    sizes = Counter(node.region for node in topology.nodes.values())
    around: Counter[str] = Counter()
    for link in topology.links:
        around[link.a] += sizes[link.b]
        around[link.b] += sizes[link.a]
    for gateway, content in transfer_regions(topology):
        around[gateway] += sizes[content]
        around[content] += sizes[gateway]
    edges = sum(node.role is Role.EDGE for node in topology.nodes.values())
    beside = sum(node.role in BESIDE for node in topology.nodes.values())
    more = {Role.EDGE: beside, **dict.fromkeys(BESIDE, edges)}
    return {
        node.name: around[node.region]
        + more.get(node.role, 0)
        + (sizes[node.region] - 1 if node.role is Role.GATEWAY else 0)
        for node in topology.nodes.values()
    }
