"""Why these paths: what they cost by the topology, what the next best would, and what they share. Pure."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.model import Topology


def why_chosen(topology: Topology, source: str, destination: str, chosen: Sequence[tuple[str, ...]]) -> str:
    """ "by cost: mid-ams 17 + mid-par 25; next best mid-lon 27". Costs are the topology's, not measured."""
    ends = (topology.nodes[source].region, topology.nodes[destination].region)
    costs = {frozenset((link.a, link.b)): link.cost for link in topology.links}

    def cost(regions: tuple[str, ...]) -> float | None:
        hops = [costs.get(frozenset(hop)) for hop in pairwise((ends[0], *regions, ends[1])) if hop[0] != hop[1]]
        tolls = sum(topology.regions[name].price for name in regions)
        return None if None in hops else sum(hop for hop in hops if hop is not None) + tolls

    parts = [f"{' > '.join(regions)} {_number(cost(regions))}" for regions in dict.fromkeys(chosen) if regions]
    if not parts:
        return ""
    used = {region for regions in chosen for region in regions}
    middles = [region.name for region in topology.regions.values() if region.role is Role.INTERMEDIATE]
    others = [(price, name) for name in middles if name not in used and (price := cost((name,))) is not None]
    text = f"by cost: {' + '.join(parts)}"
    if others:
        price, name = min(others)
        text += f"; next best {name} {_number(price)}"
    else:
        text += "; no other region reaches both ends directly"
    shared = _shared(topology, [regions for regions in dict.fromkeys(chosen) if regions])
    return f"{text}; not disjoint: {', '.join(shared)}" if shared else text


def _shared(topology: Topology, chosen: Sequence[tuple[str, ...]]) -> list[str]:
    """Regions, providers and shared-risk groups that more than one of the paths crosses."""
    risks = [{risk for name in regions for risk in (name, *topology.regions[name].risks)} for regions in chosen]
    return sorted({risk for one, other in combinations(risks, 2) for risk in one & other})


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:g}"
