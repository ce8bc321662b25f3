"""Addresses and ports: no two things of a Braid may claim the same one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topology.build import status_address
from topology.model import SocketAddress
from topology.rules.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topology.model import IPAddress, IPNetwork
    from topology.problem import Key
    from topology.schema import NodeShape
    from topology.shape import Draft


@dataclass(frozen=True, slots=True)
class _Pool:
    key: Key
    network: IPNetwork
    kind: str
    owner: str

    def __str__(self) -> str:
        return f"{self.kind} pool {self.network} of {self.owner}"


def check(draft: Draft) -> None:
    pools = _pools_apart(draft)
    _pools_hold_no_machines(draft, pools)
    _underlay_ports_differ(draft)
    _listeners_differ(draft)


def _pools(draft: Draft) -> Iterator[_Pool]:
    for name, node in draft.document.nodes.items():
        for position, network in enumerate(node.vip_pools):
            yield _Pool(("nodes", name, "vip_pools", position), network, "VIP", name)
        for position, network in enumerate(node.snat_pools):
            yield _Pool(("nodes", name, "snat_pools", position), network, "SNAT", name)


def _pools_apart(draft: Draft) -> Spans[_Pool]:
    """Two prefixes overlap only if one holds the other, so looking upwards from each finds every pair."""
    spans: Spans[_Pool] = Spans()
    pools = list(_pools(draft))
    twins = {pool.key: twin for pool in pools if (twin := spans.add(pool.network, pool)) is not None}
    for pool in pools:
        other = twins.get(pool.key) or spans.overlap(pool.network)
        if other is not None:
            draft.report.add(pool.key, f"{pool} overlaps {other}", "take a prefix that no other pool uses")
    for position, network in enumerate(draft.document.lab.underlay):
        for pool in pools:
            if pool.network.version == network.version and pool.network.overlaps(network):
                draft.report.add(
                    pool.key,
                    f"{pool} overlaps lab.underlay[{position}] {network}",
                    "take a prefix outside the underlay",
                )
    return spans


def _pools_hold_no_machines(draft: Draft, pools: Spans[_Pool]) -> None:
    for key, address, what in _machines(draft):
        if (pool := pools.holder(address)) is not None:
            draft.report.add(
                key,
                f"{what} {address} lies in the {pool}",
                "move the address or shrink the pool: Braid gives out every address of it",
            )


def _machines(draft: Draft) -> Iterator[tuple[Key, IPAddress, str]]:
    document = draft.document
    for name, node in document.nodes.items():
        for position, address in enumerate(node.underlay):
            yield ("nodes", name, "underlay", position), address, "underlay address"
        if node.status is not None:
            yield ("nodes", name, "status"), node.status.host, "status address"
        for position, listener in enumerate(node.dns_listen):
            yield ("nodes", name, "dns_listen", position), listener.host, "DNS address"
        if node.powerdns is not None:
            yield ("nodes", name, "powerdns"), node.powerdns.host, "address for PowerDNS"
        for key, listener in _content_listeners(name, node):
            yield key, listener.host, "address for clients"
    for network, shape in document.lab.networks.items():
        for member, addresses in shape.members.items():
            for position, address in enumerate(addresses):
                yield ("lab", "networks", network, "members", member, position), address, "lab address"


def _content_listeners(name: str, node: NodeShape) -> Iterator[tuple[Key, SocketAddress]]:
    """Each address once: that one of them is written twice says ``topology.rules.content``."""
    content, seen = node.content, set[SocketAddress]()
    if content is None:
        return
    for place, listeners in (((), content.listen), (("tls",), content.tls.listen if content.tls else ())):
        for position, listener in enumerate(listeners):
            if listener not in seen:
                seen.add(listener)
                yield ("nodes", name, "content", *place, "listen", position), listener


def _underlay_ports_differ(draft: Draft) -> None:
    owners: dict[tuple[IPAddress, int], str] = {}
    for name, node in draft.document.nodes.items():
        for position, address in enumerate(node.underlay):
            key = ("nodes", name, "underlay", position)
            if address.is_unspecified or address.is_multicast or address.is_link_local:
                draft.report.add(key, f"{address} cannot be reached from other nodes", "write the node's own address")
                continue
            claimed = {(address, port) for port in range(node.port, node.port + node.shards)}
            if clash := min(claimed & owners.keys(), key=lambda place: place[1], default=None):
                draft.report.add(
                    key,
                    f"{address} UDP port {clash[1]} is used by {owners[clash]}, too",
                    "give the node another address or another `port:` (a node takes one port per shard)",
                )
            owners.update((place, name) for place in claimed - owners.keys())


def _listeners_differ(draft: Draft) -> None:
    """TCP listeners. Several nodes on one machine share its addresses, wildcards are the machine's."""
    owners: dict[SocketAddress, str] = {}
    for name, node in draft.document.nodes.items():
        listeners: list[tuple[Key, SocketAddress]] = [
            (("nodes", name, "dns_listen", position), listener) for position, listener in enumerate(node.dns_listen)
        ]
        listeners.append((("nodes", name, "status"), status_address(node)))
        if node.powerdns is not None:
            listeners.append((("nodes", name, "powerdns"), node.powerdns))
        listeners += _content_listeners(name, node)
        for key, listener in listeners:
            if listener.host.is_unspecified or listener.host.is_loopback:
                continue
            if listener in owners:
                draft.report.add(
                    key,
                    f"{listener} is listened on by {owners[listener]}, too",
                    "choose another port",
                )
            owners.setdefault(listener, name)
