"""Applications: their names, target servers, gateways and health checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.build import check_port, gateway_regions, redundancy
from topology.egress import forbidden_target
from topology.model import CheckKind, CookiePlace, Protocol, Role, ServiceMode
from topology.policy import PolicyError
from topology.rules.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Collection

    from topology.model import IPAddress
    from topology.problem import Key
    from topology.schema import ApplicationShape
    from topology.shape import Draft


MOST_TARGETS = 200
"""Applications with a target loss: each has a set of paths of its own at the nodes."""


def check(draft: Draft) -> None:
    _hostnames(draft)
    with_target = [name for name, shape in draft.document.applications.items() if shape.target_loss is not None]
    if len(with_target) > MOST_TARGETS:
        first = ("applications", with_target[MOST_TARGETS], "target_loss")
        draft.report.add(first, f"more than {MOST_TARGETS} applications with a target", "give some `copies:`")
    pools = _pools(draft)
    nodes = {address: name for name, node in draft.document.nodes.items() for address in node.underlay}
    for name, application in draft.document.applications.items():
        key: Key = ("applications", name)
        _targets(draft, key, application, pools, nodes)
        _gateways(draft, key, application)
        _families(draft, key, application)
        _health_check(draft, key, application)
        _redundancy(draft, key, application)
        _mode(draft, key, application)


def _mode(draft: Draft, key: Key, application: ApplicationShape) -> None:
    carries_tcp = any(ports.protocol in (Protocol.TCP, Protocol.ANY) for ports in application.ports)
    if application.mode is ServiceMode.FAST_PATH and not carries_tcp:
        draft.report.add(
            (*key, "mode"), "the fast path is for TCP, and no port is", "write `mode: nat` or add a TCP port"
        )
    if application.cookie_at is not CookiePlace.EDGE:
        return
    place: Key = (*key, "cookie_at")
    if application.mode is not ServiceMode.FAST_PATH:
        draft.report.add(place, f"the mode is {application.mode}", "write `mode: fast-path`, or remove the key")
        return
    regions = draft.document.regions
    for name in application.gateways or [name for name, region in regions.items() if region.role is Role.GATEWAY]:
        if name in regions and regions[name].cookie_secret is None:
            draft.report.add(
                place,
                f"regions.{name} has no cookie_secret, so an edge cannot make cookies that its gateways believe",
                "write `cookie_secret:` to the region (`openssl rand -hex 16`)",
            )


def _hostnames(draft: Draft) -> None:
    zone = draft.document.zone.name
    owners: dict[str, str] = {}
    for name, application in draft.document.applications.items():
        for position, hostname in enumerate(application.hostnames):
            key = ("applications", name, "hostnames", position)
            if not draft.is_broken("zone") and hostname != zone and not hostname.endswith(f".{zone}"):
                draft.report.add(key, f"{hostname} lies outside the zone {zone}", f"use a name that ends in .{zone}")
            if hostname in owners:
                draft.report.add(key, f"{hostname} is a hostname of {owners[hostname]}, too", "keep one of the two")
            owners.setdefault(hostname, name)


def _pools(draft: Draft) -> Spans[str]:
    spans: Spans[str] = Spans()
    for name, node in draft.document.nodes.items():
        for pool in node.vip_pools:
            spans.add(pool, f"VIP pool {pool} of {name}")
        for pool in node.snat_pools:
            spans.add(pool, f"SNAT pool {pool} of {name}")
    return spans


def _targets(
    draft: Draft, key: Key, application: ApplicationShape, pools: Spans[str], nodes: dict[IPAddress, str]
) -> None:
    seen: set[tuple[IPAddress, int | None]] = set()
    for position, target in enumerate(application.targets):
        place = (*key, "targets", position)
        address = target.address
        if (kind := forbidden_target(address)) is not None:
            draft.report.add(place, f"{address} is {kind}", "name the address at which the server is reached")
        elif (pool := pools.holder(address)) is not None:
            draft.report.add(place, f"{address} lies in the {pool}", "name the server's own address")
        elif address in nodes:
            draft.report.add(
                place,
                f"{address} is the underlay address of {nodes[address]}",
                "give the server an address of its own",
            )
        if (address, target.port) in seen:
            draft.report.add(place, f"{address} is written twice", "keep one and give it the sum of the weights")
        seen.add((address, target.port))


def _gateways(draft: Draft, key: Key, application: ApplicationShape) -> None:
    regions = draft.document.regions
    known = [name for name, region in regions.items() if region.role is Role.GATEWAY]
    remedy = f"use gateway regions: {', '.join(known) or 'there is none yet'}"
    for position, name in enumerate(application.gateways or ()):
        place = (*key, "gateways", position)
        if name in (application.gateways or ())[:position]:
            draft.report.add(place, f"{name} is written twice", "keep the first")
        elif name not in regions:
            if not draft.is_broken("regions", name):
                draft.report.add(place, f"unknown region {name}", remedy)
        elif regions[name].role is not Role.GATEWAY:
            draft.report.add(place, f"{name} is a region of role {regions[name].role}", remedy)


def _families(draft: Draft, key: Key, application: ApplicationShape) -> None:
    """Braid does not translate between IPv4 and IPv6: a client's family is that of the VIP, the SNAT and the target."""
    if any(place[0] in ("nodes", "regions") for place in draft.broken):
        return
    document = draft.document
    gateways = gateway_regions(document, application)
    vips = {pool.version for node in document.nodes.values() for pool in node.vip_pools}
    snats = {pool.version for node in document.nodes.values() if node.region in gateways for pool in node.snat_pools}
    targets = {target.address.version for target in application.targets}
    if not vips or not snats:
        return
    if not targets & vips & snats:
        draft.report.add(
            (*key, "targets"),
            f"targets are {_family_names(targets)}, VIP pools {_family_names(vips)}, SNAT pools of its gateways "
            f"{_family_names(snats)}: nothing in common",
            "add a target or a pool so that one family is in all three",
        )
        return
    for family in sorted(targets & vips - snats):
        draft.report.add(
            (*key, "gateways"),
            f"clients get an IPv{family} VIP, but no gateway has an IPv{family} SNAT pool",
            f"add one to a node of {', '.join(gateways)} or remove the IPv{family} targets",
        )


def _family_names(families: Collection[int]) -> str:
    return " and ".join(f"IPv{family}" for family in sorted(families))


def _health_check(draft: Draft, key: Key, application: ApplicationShape) -> None:
    check = application.check
    if check.kind is not CheckKind.NONE and check_port(application) is None:
        draft.report.add((*key, "check"), f"no port for the {check.kind} check", "add `port:` to the check")
    if check.timeout > check.interval:
        draft.report.add(
            (*key, "check", "timeout"),
            f"{check.timeout:g} s is longer than the interval of {check.interval:g} s",
            "make it shorter or the interval longer",
        )


def _redundancy(draft: Draft, key: Key, application: ApplicationShape) -> None:
    try:
        redundancy(application)
    except PolicyError as error:
        draft.report.add((*key, error.key), error.message, error.remedy)
