"""The paths among which applications with a target loss choose, and the numbers of sets of paths. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.desired import TARGETS
from braid.redundancy.losses import Candidate
from topology.paths import node_routes
from topology.policy import MOST_PATHS, TargetLoss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from braid.app_numbers import AppNumbers
    from braid.desired import PathChoice
    from topology.health import Health
    from topology.model import Application, Topology
    from topology.paths import Route
    from topology.planner import Planner


def has_target(application: Application) -> bool:
    return isinstance(application.redundancy, TargetLoss)


def fixed_copies(application: Application) -> frozenset[int]:
    """Its number of copies, if that is always the same."""
    return frozenset() if has_target(application) else frozenset({application.copies})


def set_number(application: Application, numbers: AppNumbers) -> int:
    """Names its set of paths to the data plane: applications with as many copies share one."""
    return TARGETS + numbers.number(application.name) if has_target(application) else application.copies


def targets_by_set(
    topology: Topology, wanted: Mapping[str, Iterable[str]], numbers: AppNumbers
) -> dict[str, dict[int, TargetLoss]]:
    """Policies by peer and number of the set; ``wanted`` names the applications with a target that go to each peer."""
    applications = topology.applications
    return {
        peer: {
            set_number(applications[name], numbers): policy
            for name in names
            if isinstance(policy := applications[name].redundancy, TargetLoss)
        }
        for peer, names in wanted.items()
    }


def candidate_routes(
    planner: Planner,
    name: str,
    peer: str,
    copies: int,
    usable: Callable[[str], bool],
    health: Health,
    kept: Sequence[tuple[str, ...]] = (),
) -> tuple[Route, ...]:
    """Paths for as many copies as there may be in trouble, sharing as little as possible, and others through regions
    that they leave out; ``MOST_PATHS`` at most. ``kept``: regions of those that were chosen before."""
    nodes = planner.topology.nodes
    first = node_routes(planner, name, peer, copies, usable=usable, health=health, kept=kept[:copies]).routes
    taken = {region for route in first for region in route.regions}
    left = MOST_PATHS - len(first)
    if not left:
        return first

    def untaken(node: str) -> bool:
        return usable(node) and nodes[node].region not in taken

    return (*first, *node_routes(planner, name, peer, left, usable=untaken, health=health).routes)


def as_candidate(topology: Topology, choice: PathChoice, route: Route) -> Candidate:
    """What it shares with others is what fails with it: regions, providers and shared-risk groups by their names."""
    groups = {f"region {name}" for name in route.regions}
    for name in route.regions:
        region = topology.regions[name]
        groups |= {f"provider {region.provider}"} if region.provider else set()
        groups |= {f"shared risk {risk}" for risk in region.shared_risk}
    return Candidate(choice.id, route.cost, frozenset(groups))
