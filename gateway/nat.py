"""What the gateway's NAT is told: VIPs and their targets, and the addresses targets will see. Pure.

The flow table and its timeouts (RFC 4787, RFC 5382) are in the core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.candidates import fixed_copies, has_target, set_number
from braid.desired import GatewayApplication, GatewayPolicy, GatewayVip, ProxiedApplication, TargetChoice
from braid.plan import port_matches
from gateway.drain.state import AT_HOME
from topology.graph import siblings
from topology.model import CookiePlace, ServiceMode
from topology.proxy import HTTP, TLS_SNI, ClientAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.app_numbers import AppNumbers
    from braid.desired import Accept
    from gateway.drain.state import Standing
    from gateway.targets import TargetKey
    from topology.model import Application, IPAddress, IPNetwork, Topology


def served(topology: Topology, gateway: str) -> tuple[Application, ...]:
    """Applications that name the gateway's region."""
    region = topology.nodes[gateway].region
    return tuple(application for application in topology.applications.values() if region in application.gateways)


def peers_of(topology: Topology, gateway: str) -> dict[str, frozenset[int]]:
    """Every edge node with a VIP of an application served here, and the fixed numbers of copies sent to it."""
    peers: dict[str, frozenset[int]] = {}
    copies = {application.name: fixed_copies(application) for application in served(topology, gateway)}
    for vip in topology.vips:
        if vip.application in copies:
            peers[vip.edge] = peers.get(vip.edge, frozenset()) | copies[vip.application]
    return peers


def with_siblings(topology: Topology, gateway: str) -> dict[str, frozenset[int]]:
    """The same, and the other gateways of the region; each is a neighbour, so one copy goes there."""
    return {**peers_of(topology, gateway), **{name: frozenset({1}) for name in siblings(topology, gateway)}}


def stack_alone(topology: Topology, gateway: str, *, promotes: bool) -> tuple[str, ...]:
    """Applications of whose connections the data plane knows nothing."""
    proxied = (each for each in served(topology, gateway) if each.mode is ServiceMode.PROXY)
    return tuple(each.name for each in proxied if accepted(each, promotes=promotes) == "listener")


def targets_of(topology: Topology, gateway: str) -> dict[str, tuple[str, ...]]:
    """Edge nodes to which applications with a target loss send, and those applications."""
    targets: dict[str, tuple[str, ...]] = {}
    names = {application.name for application in served(topology, gateway) if has_target(application)}
    for edge, name in dict.fromkeys((vip.edge, vip.application) for vip in topology.vips if vip.application in names):
        targets[edge] = (*targets.get(edge, ()), name)
    return targets


def captured(topology: Topology, gateway: str) -> tuple[IPNetwork, ...]:
    """The SNAT pools: replies of targets come back to them."""
    return topology.nodes[gateway].snat_pools


def accepted(application: Application, *, promotes: bool) -> Accept:
    """How connections of a proxied application come to the stack; ``promotes``: whether it can take them from the fast
    path. Where the server may be the one to speak first, at once."""
    settings = application.proxy
    if not promotes or settings is None:
        return "listener"
    return "first-byte" if settings.kind in (HTTP, TLS_SNI) or settings.tls is not None else "at-once"


def transparent(application: Application) -> tuple[IPAddress, ...]:
    """The servers of an application that see its clients' own addresses."""
    settings = application.proxy
    if settings is None or settings.client_address is not ClientAddress.TRANSPARENT:
        return ()
    return tuple(target.address for target in application.targets)


def splices(application: Application) -> bool:
    """Whether connections may go back to the data plane once a proxy has seen enough of them."""
    settings = application.proxy
    return settings is not None and (settings.kind != "http" or settings.splice_above is not None)


def gateway_policy(
    topology: Topology,
    gateway: str,
    numbers: AppNumbers,
    healthy: Callable[[TargetKey], bool],
    *,
    promotes: bool = False,
    drain: Standing = AT_HOME,
) -> GatewayPolicy:
    return GatewayPolicy(
        applications=tuple(
            GatewayApplication(
                app=numbers.number(application.name),
                vips=_vips(topology, application),
                ports=port_matches(application.ports),
                set=set_number(application, numbers),
                targets=tuple(
                    TargetChoice(
                        str(target.address), target.port, target.weight, healthy((application.name, target.address))
                    )
                    for target in application.targets
                ),
                mode=application.mode.value,
                cookies_at_edge=application.cookie_at is CookiePlace.EDGE,
            )
            for application in served(topology, gateway)
            if application.mode is not ServiceMode.PROXY
        ),
        proxied=tuple(
            ProxiedApplication(
                vips=_vips(topology, application),
                ports=port_matches(application.ports),
                set=set_number(application, numbers),
                app=numbers.number(application.name),
                accept=accepted(application, promotes=promotes),
                transparent=tuple(str(server) for server in transparent(application)),
                splices=splices(application),
                idle_timeout=application.proxy.idle_timeout if application.proxy else None,
            )
            for application in served(topology, gateway)
            if application.mode is ServiceMode.PROXY
        ),
        snat=tuple(str(pool) for pool in captured(topology, gateway)),
        guests=tuple(str(pool) for pool in drain.guests),
        siblings=tuple(topology.nodes[name].number for name in siblings(topology, gateway)),
        sibling=drain.sibling,
        moving=drain.moving,
    )


def _vips(topology: Topology, application: Application) -> tuple[GatewayVip, ...]:
    return tuple(
        GatewayVip(str(vip.address), topology.nodes[vip.edge].number)
        for vip in topology.vips
        if vip.application == application.name
    )
