"""Why paths between two regions were chosen, in words."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.planner import Choice, Planner

COUNTED = {1: "path", 2: "pair", 3: "three", 4: "four"}
MOST_LEFT_OUT = 2
"""Regions of which it is said that they would be cheaper if they were as declared."""


def why(
    planner: Planner,
    source: str,
    destination: str,
    copies: int,
    *,
    without: frozenset[str] = frozenset(),
    kept: Sequence[tuple[str, ...]] = (),
) -> str:
    """The reason for a choice between two regions, for people: ``cheapest disjoint pair; runner-up via lon +4 ms``.

    ``kept`` are the regions of the paths in use, if they are not what would be chosen now.
    """
    best = planner.choose(source, destination, copies, without=without)
    if not best.paths:
        return "no path"
    chosen = (planner.again(source, destination, kept, without=without) if kept else None) or best
    count = len(chosen.paths)
    if chosen.overlap:
        reason = f"least overlap: shares {', '.join(chosen.overlap)}"
    else:
        reason = f"cheapest {'disjoint ' if count > 1 else ''}{COUNTED.get(count, str(count))}"
    if count < copies:
        reason += f"; {copies} asked for, there are no more"
    if {path.regions for path in chosen.paths} != {path.regions for path in best.paths}:
        gain = planner.total(chosen) - planner.total(best)
        reason = f"kept: via {_new(best, chosen)} {-gain:+.3g} ms is too little to change"
    else:
        rival = planner.runner_up(source, destination, copies, without=without)
        more = planner.total(rival) - planner.total(chosen)
        reason += f"; runner-up via {_new(rival, chosen)} {more:+.3g} ms" if rival.paths else "; no other choice"
    notes = (*_left_out(planner, source, destination, chosen, without), *_apart(planner, chosen))
    return "; ".join((reason, *notes))


def _new(rival: Choice, chosen: Choice) -> str:
    """The rival's paths that are not chosen."""
    known = {path.regions for path in chosen.paths}
    return ", ".join(">".join(path.regions) for path in rival.paths if path.regions not in known)


def _left_out(planner: Planner, source: str, destination: str, chosen: Choice, without: frozenset[str]) -> list[str]:
    """Regions that would be among the cheapest if they cost what the file says, and what they are measured to cost."""
    topology = planner.topology
    declared = {frozenset((link.a, link.b)): link.cost for link in topology.links}
    used = {region for path in chosen.paths for region in path.regions}
    dearest = max(path.cost for path in chosen.paths)
    found = []
    for region in topology.regions.values():
        hops = [frozenset(hop) for hop in pairwise((source, region.name, destination))]
        if region.role is not Role.INTERMEDIATE or region.name in used or not all(hop in declared for hop in hops):
            continue
        plain = sum(declared[hop] for hop in hops) + region.price
        now = planner.again(source, destination, [(region.name,)], without=without)
        if plain < dearest and now is not None and now.cost > plain:
            found.append((plain, f"not {region.name}: {now.cost:.3g} ms measured, {plain:.3g} declared"))
    return [text for _, text in sorted(found)[:MOST_LEFT_OUT]]


def _apart(planner: Planner, chosen: Choice) -> list[str]:
    """Of regions that lose together, those of which one is used and the other is not."""
    used = {region for path in chosen.paths for region in path.regions}
    found = []
    for pair, cost in sorted(planner.charges.items(), key=lambda item: -item[1]):
        inside, outside = sorted(pair & used), sorted(pair - used)
        if len(inside) == 1:
            found.append(f"not {outside[0]} with {inside[0]}: they lose together, {cost:+.3g} ms")
    return found[:MOST_LEFT_OUT]
