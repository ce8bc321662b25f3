"""What the gateway's NAT is told: VIPs and their targets, and the addresses targets will see. Pure.

The flow table and its timeouts (RFC 4787, RFC 5382) are in the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.desired import GatewayApplication, GatewayPolicy, GatewayVip, TargetChoice
from braid.plan import port_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.plan import AppNumbers
    from gateway.targets import TargetKey
    from topology.model import Application, IPNetwork, Topology


def served(topology: Topology, gateway: str) -> tuple[Application, ...]:
    """Applications that name the gateway's region."""
    region = topology.nodes[gateway].region
    return tuple(application for application in topology.applications.values() if region in application.gateways)


def peers_of(topology: Topology, gateway: str) -> dict[str, frozenset[int]]:
    """Every edge node with a VIP of an application served here, and the numbers of copies sent to it."""
    peers: dict[str, frozenset[int]] = {}
    copies = {application.name: application.copies for application in served(topology, gateway)}
    for vip in topology.vips:
        if vip.application in copies:
            peers[vip.edge] = peers.get(vip.edge, frozenset()) | {copies[vip.application]}
    return peers


def captured(topology: Topology, gateway: str) -> tuple[IPNetwork, ...]:
    """The SNAT pools: replies of targets come back to them."""
    return topology.nodes[gateway].snat_pools


def gateway_policy(
    topology: Topology, gateway: str, numbers: AppNumbers, healthy: Callable[[TargetKey], bool]
) -> GatewayPolicy:
    return GatewayPolicy(
        tuple(
            GatewayApplication(
                app=numbers.number(application.name),
                vips=tuple(
                    GatewayVip(str(vip.address), topology.nodes[vip.edge].number)
                    for vip in topology.vips
                    if vip.application == application.name
                ),
                ports=port_matches(application.ports),
                copies=application.copies,
                targets=tuple(
                    TargetChoice(
                        str(target.address), target.port, target.weight, healthy((application.name, target.address))
                    )
                    for target in application.targets
                ),
            )
            for application in served(topology, gateway)
        ),
        tuple(str(pool) for pool in captured(topology, gateway)),
    )
