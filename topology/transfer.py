"""Which requests are better served by a content proxy: rows of the routing table for connection transfers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.address import IPNetwork, PortRange

KILOBYTE = 1000
METHODS = ("GET", "HEAD")
"""That a cache can answer."""


class ProxyPolicy(StrEnum):
    """Which of a row's content proxies is asked."""

    FIRST = "first"
    """The first in the order of the file that can be reached."""
    HASH = "hash"
    """One by what ``hash`` names (rendezvous hashing)."""
    LEAST_CONNECTIONS = "least_connections"
    """The one that has fewest of this gateway's connections; one of them at random where several have."""
    RANDOM = "random"


class HashedBy(StrEnum):
    """What ``ProxyPolicy.HASH`` goes by."""

    PATH = "path"
    """And the host: each proxy keeps a part of the content."""
    CLIENT = "client"
    """The address: a client's connections meet at one proxy."""


class TransferMode(StrEnum):
    """What a row's content proxies are asked for."""

    SERVE_OR_ORIGIN = "serve-or-origin"
    """What they store; the origin serves the rest by the gateway."""
    SERVE = "serve"
    """All of it: they ask the origin themselves for what they do not store."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Of a connection at the moment of its request, by the gateway's record. Bytes."""

    least_requests: int = 0
    """This one included."""
    least_received: int = 0
    """Of the client, since the initial sequence number; with this request."""
    most_received: int | None = None
    least_sent: int = 0
    """To the client, which has acknowledged them."""
    most_sent: int | None = None
    least_window: int = 0
    """That the client lets us send."""


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A request that meets every condition that is there is a candidate. Rows are tried in order."""

    application: str
    proxies: tuple[str, ...]
    """Content nodes."""
    policy: ProxyPolicy = ProxyPolicy.FIRST
    hash: HashedBy = HashedBy.PATH
    mode: TransferMode = TransferMode.SERVE_OR_ORIGIN
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
    connection: Conditions | None = None
    until: float | None = None
    """Unix seconds from which on the row holds no more."""
