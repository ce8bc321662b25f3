"""The virtual IPs of an edge: each one, and nothing else of its pools, is routed into the TUN. Pure."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import IPNetwork, Topology


def captured(topology: Topology, edge: str) -> tuple[IPNetwork, ...]:
    """A host prefix per VIP. Addresses of a pool without an application stay unreachable."""
    return tuple(ip_network(vip.address) for vip in topology.vips if vip.edge == edge)
