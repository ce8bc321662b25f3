"""What passes a gateway: flows, and the proxies that end connections, as its status endpoint shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NatStatus:
    flows: int = 0
    created: int = 0
    expired: int = 0
    ports_exhausted: int = 0
    table_full: int = 0


@dataclass(frozen=True, slots=True)
class FastPathStatus:
    sessions: int = 0
    """Connections with records."""
    cookies_sent: int = 0
    cookies_valid: int = 0
    """Those that came back: connections that servers were asked for."""
    established: int = 0
    """Servers that answered."""
    held: int = 0
    """Segments kept until the server had answered."""
    syn_retransmitted: int = 0
    replies_suppressed: int = 0
    """Resets and acknowledgements of our own not sent because of their rate limit."""
    service_requests: int = 0
    """Proxied connections that the stack was asked to take."""
    taken: int = 0
    """Those that it took."""
    spliced: int = 0
    """Those that it gave back to be translated."""
    parked: int = 0
    """Those that it gave back between two requests, without a server."""
    again: int = 0
    """Spliced connections whose client had a new request: the stack was asked again."""
    held_now: int = 0
    """Segments that wait for the stack or for a server."""
    residual_bytes: int = 0
    """Of sockets that were frozen, not acknowledged yet."""
    residual_resent: int = 0


@dataclass(frozen=True, slots=True)
class FlowStatus:
    """An entry of a gateway's NAT table, or a proxied connection. Addresses are "ip:port", IPv6 in brackets."""

    application: str
    protocol: str
    client: str
    vip: str
    snat: str
    target: str
    edge: str
    state: str
    idle_s: float
    packets_in: int
    packets_out: int
    bytes_in: int
    bytes_out: int
    mode: str = "nat"
    """``nat``; of the fast path ``cookie`` while the server has yet to answer, and ``fast``. Of a proxy ``normal``:
    both connections end in this node's TCP stack; ``cookie``: the fast path has accepted it and the stack has yet to
    take it; ``spliced``: it went back, and is translated; ``transferred``: a content proxy has it, or is asked to take
    it."""
    why: str = ""
    """Proxied: the server selection policy's verdict."""
    records: dict[str, Any] | None = None
    """Client session record #1 and proxy session record #1 of a fast-path connection; of a transferred one at its
    gateway ``steps``: what was said about it, as milliseconds since the request, from, to, message."""
    connection: int | None = None
    """Proxied and accepted by the fast path: the core's number."""


@dataclass(frozen=True, slots=True)
class ProxyServerStatus:
    """A target server as the proxy meets it. Numbers since the start, but ``active``."""

    address: str
    active: int
    """Connections now."""
    ejected: bool
    connections: int = 0
    connect_seconds: float = 0.0
    """Spent on those connections, together."""
    requests: int = 0
    failures: int = 0
    ejections: int = 0


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """A proxied application at a gateway."""

    application: str
    kind: str
    policy: str
    open: int
    """Client connections now."""
    connections: int
    requests: int
    """Of HTTP; else connections that reached a server."""
    refused: dict[str, int] = field(default_factory=dict)
    """Connections or requests that the gateway ended, by reason."""
    servers: tuple[ProxyServerStatus, ...] = ()
    accepted_by: str = "listener"
    """``fast-path`` where it accepts clients' connections and the stack takes them over; else ``listener``."""
    promoted: int = 0
    """Connections that the stack took over."""
    promotion_ms: dict[str, float] = field(default_factory=dict)
    """From a client's packet at the fast path until it could be read: percentiles ``p50`` and ``p99`` of the last 1000.
    Empty where there was none."""
    spliced: int = 0
    """Connections that went back to be translated; of them ``open_spliced`` are there now."""
    open_spliced: int = 0
    open_waiting: int = 0
    """Of those that are open now the ones in the data plane that wait for their clients, and have no server."""
    stayed: dict[str, int] = field(default_factory=dict)
    """Connections that might have gone back and stayed, by reason."""
