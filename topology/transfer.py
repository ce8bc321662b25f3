"""Which requests are better served by a content proxy: rows of the routing table for connection transfers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import IPNetwork, PortRange, Topology

KILOBYTE = 1000
METHODS = ("GET", "HEAD")
"""That a cache can answer."""


class ProxyPolicy(StrEnum):
    """Which of a row's content proxies is asked."""

    FIRST = "first"
    """The first in the order of the file that can be reached."""
    HASH = "hash"
    """By host and path (rendezvous hashing): each proxy keeps a part of the content."""


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A request that meets every condition that is there is a candidate. Rows are tried in order."""

    application: str
    proxies: tuple[str, ...]
    """Content nodes."""
    policy: ProxyPolicy = ProxyPolicy.FIRST
    clients: tuple[IPNetwork, ...] = ()
    edges: tuple[str, ...] = ()
    """Edge regions whose VIPs the client uses."""
    ports: tuple[PortRange, ...] = ()
    """Of TCP, at the VIP."""
    methods: tuple[str, ...] = METHODS
    hosts: tuple[str, ...] = ()
    """Lower case; ``*.example.com`` stands for every name below."""
    path: str = ""
    """Prefix."""
    sni: tuple[str, ...] = ()
    """Lower case, as ``hosts``, of a ClientHello. Of TLS only this, ``alpn``, and who asks whom count."""
    alpn: tuple[str, ...] = ()
    """One of these protocols is offered."""
    least: int = 0
    """Bytes of the whole body; the proxy refuses what is smaller."""
    until: float | None = None
    """Unix seconds from which on the row holds no more."""


def takes_transfers(topology: Topology, node: str) -> bool:
    """Whether a content node may be asked to take connections over, for which it needs a TUN."""
    return any(node in row.proxies for row in topology.transfers)
