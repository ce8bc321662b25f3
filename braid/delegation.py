"""What a content proxy's certificate allows it: whose connections it may have, and for which names. Pure.

A routing table is read by every node from its own copy of the topology file; what the CA has signed holds whatever a
copy says. So the proxy, the edge that would send it a client's packets and the gateway that would ask it look at both.

In the certificate (``braid.identity``) a delegation is words of ASCII, a space between them: prefixes of VIPs, then
names, each in the one form that ``text`` gives it::

    10.91.1.160/28 2001:db8:91:1::/64 shop.apps.example *.img.example
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from braid.http import is_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from topology.model import IPAddress, IPNetwork, Topology

_NAME = re.compile(r"(\*\.)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")
LONGEST_NAME = 253


@dataclass(frozen=True, slots=True)
class Delegation:
    prefixes: tuple[IPNetwork, ...] = ()
    """In which the VIPs are whose connections it may have."""
    names: tuple[str, ...] = ()
    """Lower case; ``*.example.com`` stands for every name below."""

    def covers(self, vip: IPAddress) -> bool:
        return any(vip.version == each.version and vip in each for each in self.prefixes)

    def names_host(self, host: str) -> bool:
        return is_named(host, self.names)

    @property
    def text(self) -> str:
        return " ".join((*map(str, self.prefixes), *self.names))


NOTHING = Delegation()


def delegation(prefixes: Iterable[IPNetwork], names: Iterable[str]) -> Delegation:
    """In the order and with the prefixes that one set of addresses and names always has. ``ValueError`` names what is
    no name."""
    listed = list(prefixes)
    collapsed: tuple[IPNetwork, ...] = (
        *collapse_addresses([each for each in listed if isinstance(each, IPv4Network)]),
        *collapse_addresses([each for each in listed if isinstance(each, IPv6Network)]),
    )
    ordered = tuple(sorted(set(names)))
    for name in ordered:
        if not is_name(name):
            raise ValueError(f"{name!r} is not a host name in lower case, or *. and one")
    return Delegation(collapsed, ordered)


def parse(text: str) -> Delegation:
    """``ValueError`` for anything that ``text`` does not give."""
    words = text.split(" ") if text else []
    prefixes = [ip_network(word) for word in words if "/" in word]
    found = delegation(prefixes, [word for word in words if "/" not in word])
    if found.text != text:
        raise ValueError("not in the one form of a delegation")
    return found


def is_name(word: str) -> bool:
    return len(word) <= LONGEST_NAME and _NAME.fullmatch(word) is not None


def wanted(topology: Topology, node: str) -> Delegation:
    """What a new certificate gives a node: to a content proxy the VIP pools of all edges and the hostnames of the
    applications that it serves, to others nothing."""
    settings = topology.nodes[node].content
    if settings is None:
        return NOTHING
    pools = (pool for each in topology.nodes.values() for pool in each.vip_pools)
    names = (name for each in settings.applications for name in topology.applications[each].hostnames)
    return delegation(pools, names)


def allows(delegations: Mapping[str, Delegation], proxy: str, vips: Iterable[IPAddress]) -> bool:
    """Whether a content proxy may have connections of all these VIPs."""
    found = delegations.get(proxy, NOTHING)
    return all(found.covers(vip) for vip in vips)


def lacking(topology: Topology, node: str, found: Delegation) -> tuple[str, ...]:
    """VIPs that the routing table gives a content proxy, and names of its applications, which its certificate does
    not: their connections are never moved to it."""
    settings, rows = topology.nodes[node].content, [row for row in topology.transfers if node in row.proxies]
    if settings is None or not rows:
        return ()
    given = {
        vip.address
        for row in rows
        for vip in topology.vips
        if vip.application == row.application and (not row.edges or topology.nodes[vip.edge].region in row.edges)
    }
    hosts = {host for row in rows for host in topology.applications[row.application].hostnames}
    vips = sorted((vip for vip in given if not found.covers(vip)), key=lambda vip: (vip.version, int(vip)))
    return (*map(str, vips), *sorted(host for host in hosts if not found.names_host(host)))
