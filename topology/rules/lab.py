"""The lab: networks around the Braid and the machines on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.rules.spans import Spans

if TYPE_CHECKING:
    from topology.model import IPAddress, IPNetwork
    from topology.problem import Key
    from topology.shape import Draft


def check(draft: Draft) -> None:
    lab = draft.document.lab
    _one_prefix_per_family(draft, ("lab", "underlay"), lab.underlay)
    if lab.underlay:
        for name, node in draft.document.nodes.items():
            for position, address in enumerate(node.underlay):
                _inside(draft, ("nodes", name, "underlay", position), address, lab.underlay, "lab.underlay")
    for name in lab.hosts:
        if name in draft.document.nodes:
            draft.report.add(("lab", "hosts", name), "a node has this name, too", "rename one of the two")
    _networks_apart(draft)
    _members(draft)


def _one_prefix_per_family(draft: Draft, key: Key, prefixes: tuple[IPNetwork, ...]) -> None:
    if len({prefix.version for prefix in prefixes}) < len(prefixes):
        draft.report.add(key, f"two prefixes of IPv{prefixes[0].version}", "keep one prefix per family")


def _inside(draft: Draft, key: Key, address: IPAddress, prefixes: tuple[IPNetwork, ...], where: str) -> None:
    prefix = next((prefix for prefix in prefixes if address.version == prefix.version and address in prefix), None)
    names = " or ".join(str(prefix) for prefix in prefixes)
    if prefix is None:
        draft.report.add(key, f"{address} lies outside {names} of {where}", f"use an address of {names}")
    elif (
        prefix.num_addresses > 2
        and address in (prefix[0], prefix[-1])
        and (address.version == 4 or address == prefix[0])
    ):
        draft.report.add(key, f"{address} is no host address of {prefix}", "use one between first and last")


def _networks_apart(draft: Draft) -> None:
    spans: Spans[str] = Spans()
    places: list[tuple[Key, IPNetwork, str]] = [
        (("lab", "underlay", position), prefix, "lab.underlay")
        for position, prefix in enumerate(draft.document.lab.underlay)
    ]
    for name, network in draft.document.lab.networks.items():
        _one_prefix_per_family(draft, ("lab", "networks", name, "prefixes"), network.prefixes)
        places += [
            (("lab", "networks", name, "prefixes", position), prefix, f"lab.networks.{name}")
            for position, prefix in enumerate(network.prefixes)
        ]
    twins = {key: twin for key, prefix, owner in places if (twin := spans.add(prefix, owner)) is not None}
    for key, prefix, _ in places:
        if (other := twins.get(key) or spans.overlap(prefix)) is not None:
            draft.report.add(key, f"{prefix} overlaps a prefix of {other}", "take a prefix of its own")


def _members(draft: Draft) -> None:
    lab = draft.document.lab
    placed: set[str] = set()
    for name, network in lab.networks.items():
        owners: dict[IPAddress, str] = {}
        for member, addresses in network.members.items():
            key: Key = ("lab", "networks", name, "members", member)
            placed.add(member)
            known = member in draft.document.nodes or member in lab.hosts or draft.is_broken("nodes", member)
            if not known:
                draft.report.add(key, "neither a node nor a lab host", "add it to `nodes:` or to `lab.hosts:`")
            if not addresses:
                draft.report.add(key, "empty", "write at least one address")
            if len({address.version for address in addresses}) < len(addresses):
                draft.report.add(key, "two addresses of one family", "keep one address per family")
            for position, address in enumerate(addresses):
                _inside(draft, (*key, position), address, network.prefixes, f"lab.networks.{name}")
                if address in owners:
                    draft.report.add((*key, position), f"{address} is that of {owners[address]}, too", "take another")
                owners.setdefault(address, member)
    for host in lab.hosts:
        if host not in placed and host not in draft.document.nodes:
            draft.report.add(("lab", "hosts", host), "on no network", "add it to `members:` of a lab network")
