"""Regions, their nodes and the links between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.graph import BESIDE, LINKABLE
from topology.model import Role
from topology.numbers import free_number, node_number

if TYPE_CHECKING:
    from topology.schema import NodeShape
    from topology.shape import Draft

_KEYS_OF_ROLE = {
    Role.EDGE: ("serves", "vip_pools", "weight", "capacity"),
    Role.INTERMEDIATE: (),
    Role.GATEWAY: ("snat_pools",),
    Role.DNS: ("dns_listen", "powerdns"),
    Role.CONTENT: ("content",),
}
_NEEDED = {
    Role.EDGE: ("vip_pools", "an edge without VIPs serves nobody", "give it a prefix, for instance [192.0.2.128/26]"),
    Role.GATEWAY: ("snat_pools", "a gateway needs source addresses", "give it a prefix, for instance [192.0.2.4/30]"),
    Role.DNS: ("dns_listen", "a DNS node needs addresses to answer on", 'write for instance ["192.0.2.53:53"]'),
    Role.CONTENT: (
        "content",
        "a content proxy needs something to serve",
        'write for instance {listen: ["192.0.2.80"], directory: /var/cache/braid, applications: [shop]}',
    ),
}


def check(draft: Draft) -> None:
    _regions_have_nodes(draft)
    _roles_are_there(draft)
    _only_what_is_crossed_has_a_price(draft)
    _only_gateways_make_syn_cookies(draft)
    for name, node in draft.document.nodes.items():
        if node.region in draft.document.regions:
            _keys_fit_role(draft, name, node)
        elif not draft.is_broken("regions", node.region):
            draft.report.add(
                ("nodes", name, "region"), f"unknown region {node.region}", _one_of(draft.document.regions)
            )
    _numbers_differ(draft)
    _links_fit(draft)


def _one_of(names: object) -> str:
    known = list(names) if isinstance(names, dict) else []
    return f"use one of {', '.join(known[:20])}" if known else "there is none yet: add it"


def _regions_have_nodes(draft: Draft) -> None:
    if any(key[0] == "nodes" for key in draft.broken):
        return
    used = {node.region for node in draft.document.nodes.values()}
    if not used <= draft.document.regions.keys():
        # A misspelt region leaves the one that was meant without its node: one message is enough.
        return
    for name in draft.document.regions:
        if name not in used:
            draft.report.add(("regions", name), "no node is in this region", "add a node to it or remove the region")


def _roles_are_there(draft: Draft) -> None:
    if any(key[0] == "regions" for key in draft.broken):
        return
    roles = {region.role for region in draft.document.regions.values()}
    for role in (Role.EDGE, Role.INTERMEDIATE, Role.GATEWAY):
        if role not in roles:
            draft.report.add(("regions",), f"no region has the role {role}", f"add one with `role: {role}`")


def _only_what_is_crossed_has_a_price(draft: Draft) -> None:
    for name, region in draft.document.regions.items():
        for key in ("provider", "price"):
            if key in region.model_fields_set and region.role is not Role.INTERMEDIATE:
                draft.report.add(
                    ("regions", name, key),
                    f"only a region of role intermediate has this key, {name} is {region.role}",
                    "remove it: path choice looks at the regions between the ends",
                )


def _only_gateways_make_syn_cookies(draft: Draft) -> None:
    for name, region in draft.document.regions.items():
        if "cookie_secret" in region.model_fields_set and region.role is not Role.GATEWAY:
            draft.report.add(
                ("regions", name, "cookie_secret"),
                f"only a region of role gateway has this key, {name} is {region.role}",
                "remove it or write it to the gateway regions of the fast-path applications",
            )


def _keys_fit_role(draft: Draft, name: str, node: NodeShape) -> None:
    role = draft.document.regions[node.region].role
    for owner, keys in _KEYS_OF_ROLE.items():
        for key in keys:
            if owner is not role and key in node.model_fields_set:
                draft.report.add(
                    ("nodes", name, key),
                    f"only a node of role {owner} has this key, region {node.region} is {role}",
                    f"remove it or move the node to a region of role {owner}",
                )
    if role in _NEEDED:
        key, message, remedy = _NEEDED[role]
        if not getattr(node, key):
            place = ("nodes", name, key) if key in node.model_fields_set else ("nodes", name)
            draft.report.add(place, f"no {key}: {message}", remedy)
    families = [address.version for address in node.underlay]
    if len(set(families)) < len(families):
        draft.report.add(
            ("nodes", name, "underlay"),
            f"two addresses of IPv{families[0]}",
            "keep one address per family",
        )
    if node.shards & (node.shards - 1):
        draft.report.add(
            ("nodes", name, "shards"),
            f"{node.shards} is not a power of two: nodes with other numbers of shards could not share out their lanes",
            "use 1, 2, 4, 8 or 16",
        )
    if node.port + node.shards - 1 > 65535:
        draft.report.add(
            ("nodes", name, "shards"),
            f"{node.shards} shards use the UDP ports from {node.port} on, past 65535",
            "choose a lower `port:` or fewer shards",
        )


def _numbers_differ(draft: Draft) -> None:
    nodes = draft.document.nodes
    numbers = {name: node_number(name) if node.number is None else node.number for name, node in nodes.items()}
    taken = set(numbers.values())
    owners: dict[int, str] = {}
    for name, number in numbers.items():
        if number not in owners:
            owners[number] = name
            continue
        free = free_number(name, taken)
        taken.add(free)
        draft.report.add(
            ("nodes", name, "number"),
            f"number {number} is that of {owners[number]}, too",
            f"set `number: {free}` for {name}",
        )


def _links_fit(draft: Draft) -> None:
    regions = draft.document.regions
    seen: dict[frozenset[str], int] = {}
    for position, link in enumerate(draft.document.links or ()):
        key = ("links", position, "between")
        pair = frozenset(link.between)
        unknown = [name for name in dict.fromkeys(link.between) if name not in regions]
        for name in unknown:
            if not draft.is_broken("regions", name):
                draft.report.add(key, f"unknown region {name}", _one_of(regions))
        if len(pair) == 1:
            draft.report.add(key, f"links {link.between[0]} to itself", "name two different regions")
        elif pair in seen:
            draft.report.add(key, f"the same link as links[{seen[pair]}]", "keep one of the two")
        elif not unknown and (roles := frozenset(regions[name].role for name in pair)) not in LINKABLE:
            draft.report.add(
                key,
                f"links {' and '.join(regions[name].role for name in link.between)}",
                "DNS nodes and content proxies reach every edge without a link: remove it"
                if roles & BESIDE
                else "link edges and gateways to intermediates, and intermediates to each other",
            )
        seen.setdefault(pair, position)
