"""What clients get in the end: enough disjoint paths, enough VIPs, neighbours that can talk to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.graph import neighbour_regions
from topology.model import Application, Role, Topology
from topology.planner import Planner
from topology.policy import TargetLoss
from topology.vips import families_of, pool_size

if TYPE_CHECKING:
    from topology.problem import Report


def check(topology: Topology, report: Report) -> None:
    _neighbours_share_a_family(topology, report)
    _vip_pools_suffice(topology, report)
    planner = Planner(topology)
    for application in topology.applications.values():
        _paths_suffice(planner, application, report)


def _neighbours_share_a_family(topology: Topology, report: Report) -> None:
    """One problem per node and neighbouring region: the nodes of a region mostly look alike."""
    families = {node.name: frozenset(address.version for address in node.underlay) for node in topology.nodes.values()}
    order = {name: position for position, name in enumerate(topology.regions)}
    members = {name: topology.nodes_of(name) for name in topology.regions}
    for region in topology.regions:
        for other in neighbour_regions(topology, region):
            if order[other] > order[region]:
                continue
            rivals = {families[node.name]: node.name for node in reversed(members[other])}
            for node in members[region]:
                for family, rival in rivals.items():
                    if not family & families[node.name]:
                        report.add(
                            ("nodes", node.name, "underlay"),
                            f"no address family in common with its neighbour {rival}",
                            "give both an IPv4 or both an IPv6 address",
                        )


def _vip_pools_suffice(topology: Topology, report: Report) -> None:
    needed = {
        family: sum(1 for application in topology.applications.values() if family in families_of(application))
        for family in (4, 6)
    }
    for edge in topology.by_role(Role.EDGE):
        for family in sorted({pool.version for pool in edge.vip_pools}):
            size = pool_size(edge.vip_pools, family)
            if needed[family] > size:
                report.add(
                    ("nodes", edge.name, "vip_pools"),
                    f"{needed[family]} applications need an IPv{family} VIP, the pools hold {size}",
                    "take a shorter prefix or add one",
                )


def _paths_suffice(planner: Planner, application: Application, report: Report) -> None:
    """Some edge must have them, if need be overlapping ones: what they share is a warning (``topology.effective``)."""
    best: tuple[int, str, str] | None = None
    for edge in (region.name for region in planner.topology.regions.values() if region.role is Role.EDGE):
        for gateway in application.gateways:
            possible = len(planner.choose(edge, gateway, application.copies).paths)
            if possible >= application.copies:
                return
            if best is None or possible > best[0]:
                best = (possible, edge, gateway)
    if best is not None:
        possible, edge, gateway = best
        key = "min_copies" if isinstance(application.redundancy, TargetLoss) else "copies"
        report.add(
            ("applications", application.name, key),
            f"{application.copies} paths are asked for; the best pair, {edge} to {gateway}, has {possible}",
            f"add intermediate regions or links, or set `{key}: {possible}`"
            if possible
            else "link both regions to common intermediate regions",
        )
