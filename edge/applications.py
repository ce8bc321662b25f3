"""Which application a packet to a VIP belongs to, and to which gateways it may go. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.candidates import fixed_copies, has_target, set_number
from braid.delegation import allows
from braid.desired import EdgeApplication, EdgePolicy
from braid.plan import port_matches
from braid.transfer_table import pairs
from topology.model import CookiePlace
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braid.app_numbers import AppNumbers
    from braid.role import Situation
    from edge.diverts import Diverts
    from topology.model import Application, Node, Topology, Vip


def gateways_of(topology: Topology, application: Application) -> tuple[Node, ...]:
    """Gateway nodes that serve the application, most preferred first."""
    return tuple(node for region in application.gateways for node in topology.nodes_of(region))


def peers_of(topology: Topology, edge: str) -> dict[str, frozenset[int]]:
    """Every gateway node the edge needs a session with, and the fixed numbers of copies applications send there."""
    peers: dict[str, frozenset[int]] = {}
    for application in topology.applications.values():
        if vip_for(topology, edge, application.name):
            for gateway in gateways_of(topology, application):
                peers[gateway.name] = peers.get(gateway.name, frozenset()) | fixed_copies(application)
    return peers


def proxies_of(topology: Topology, edge: str) -> dict[str, frozenset[int]]:
    """Content nodes that may have connections of the edge's clients; each is a neighbour, so one copy goes there."""
    return {proxy: frozenset({1}) for own, proxy, _ in sorted(pairs(topology)) if own == edge}


def targets_of(topology: Topology, edge: str) -> dict[str, tuple[str, ...]]:
    """Gateway nodes to which applications with a target loss send, and those applications."""
    targets: dict[str, tuple[str, ...]] = {}
    for application in topology.applications.values():
        if has_target(application) and vip_for(topology, edge, application.name):
            for gateway in gateways_of(topology, application):
                targets[gateway.name] = (*targets.get(gateway.name, ()), application.name)
    return targets


def owners_of(situation: Situation, application: Application, vips: Sequence[Vip]) -> tuple[int, ...]:
    """Content nodes that the routing table, and their certificates, let have the connections of these VIPs."""
    topology = situation.topology
    names = {proxy for row in topology.transfers if row.application == application.name for proxy in row.proxies}
    addresses = [vip.address for vip in vips]
    return tuple(
        sorted(int(topology.nodes[name].number) for name in names if allows(situation.delegations, name, addresses))
    )


def edge_policy(situation: Situation, numbers: AppNumbers, diverts: Diverts) -> EdgePolicy:
    topology, edge = situation.topology, situation.node
    return EdgePolicy(
        tuple(
            EdgeApplication(
                app=numbers.number(application.name),
                vips=tuple(str(vip.address) for vip in vips),
                ports=port_matches(application.ports),
                set=set_number(application, numbers),
                gateways=(gateways := tuple(int(each.number) for each in gateways_of(topology, application))),
                cookies=application.cookie_at is CookiePlace.EDGE,
                diverts=diverts.of(application.name, gateways),
                owners=owners_of(situation, application, vips),
            )
            for application in topology.applications.values()
            if (vips := vip_for(topology, edge, application.name))
        )
    )
