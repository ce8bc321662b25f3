"""Zones for the PTR records of VIPs (RFC 1035 section 3.5, RFC 3596 section 2.5), no wider than the pools.

A pool that does not end at a label gets one zone for each part that does, down to single addresses, as RFC 2317
section 2 has it: a wider zone would deny the names of neighbours whose addresses are not ours.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from topology.model import IPNetwork


def reverse_zones(pools: Iterable[IPNetwork], hostnames: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Returns apex -> owner -> hostname for ``hostnames`` by address; also zones without any name."""
    zones: dict[str, dict[str, str]] = {}
    for pool in pools:
        step = 8 if pool.version == 4 else 4
        aligned = max(-(-pool.prefixlen // step) * step, step)
        for part in pool.subnets(new_prefix=aligned):
            zones[_apex(part)] = {}
    for text, hostname in hostnames.items():
        owner = ip_address(text).reverse_pointer
        apex = owner
        while apex not in zones and apex:
            apex = apex.partition(".")[2]
        if apex:
            zones[apex][owner] = hostname
    return zones


def _apex(network: IPNetwork) -> str:
    labels = network.network_address.reverse_pointer.split(".")
    step, full = (8, 4) if network.version == 4 else (4, 32)
    return ".".join(labels[full - network.prefixlen // step :])
