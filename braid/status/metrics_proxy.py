"""Metrics of the proxies of a gateway, by application and server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.snapshot import NodeStatus


def proxies(status: NodeStatus) -> Iterator[Metric]:
    if not status.proxies:
        return
    items = [((proxy.application,), proxy) for proxy in status.proxies]
    label = ("application",)
    yield gauge("braid_proxy_open_connections", "Clients' connections now", label, [(k, p.open) for k, p in items])
    yield counter("braid_proxy_connections", "Clients' connections", label, [(k, p.connections) for k, p in items])
    yield counter("braid_proxy_requests", "Requests answered", label, [(k, p.requests) for k, p in items])
    yield counter(
        "braid_proxy_refused",
        "Connections and requests that the gateway ended, by reason",
        ("application", "reason"),
        [((p.application, reason), count) for _, p in items for reason, count in p.refused.items()],
    )
    yield counter(
        "braid_proxy_promoted", "Connections taken from the fast path", label, [(k, p.promoted) for k, p in items]
    )
    yield counter("braid_proxy_spliced", "Connections given back to it", label, [(k, p.spliced) for k, p in items])
    yield gauge("braid_proxy_open_spliced", "Of them, those now", label, [(k, p.open_spliced) for k, p in items])
    waiting = [(k, p.open_waiting) for k, p in items]
    yield gauge("braid_proxy_open_waiting", "Connections in the data plane that wait for clients", label, waiting)
    yield counter(
        "braid_proxy_stayed",
        "Connections that might have been given back and stayed, by reason",
        ("application", "reason"),
        [((p.application, reason), count) for _, p in items for reason, count in p.stayed.items()],
    )
    yield gauge(
        "braid_proxy_promotion_seconds",
        "From a client's packet at the fast path until it could be read, of the last 1000",
        ("application", "quantile"),
        [
            ((p.application, quantile), p.promotion_ms[key] / 1000)
            for _, p in items
            for key, quantile in (("p50", "0.5"), ("p99", "0.99"))
            if key in p.promotion_ms
        ],
    )
    labels = ("application", "server")
    servers = [((p.application, server.address), server) for _, p in items for server in p.servers]
    yield gauge(
        "braid_proxy_server_active", "Connections to the server now", labels, [(k, s.active) for k, s in servers]
    )
    yield gauge("braid_proxy_server_ejected", "1 while it is ejected", labels, [(k, s.ejected) for k, s in servers])
    yield counter(
        "braid_proxy_server_connections", "Connections to the server", labels, [(k, s.connections) for k, s in servers]
    )
    yield counter(
        "braid_proxy_server_connect_seconds",
        "Spent on connecting",
        labels,
        [(k, s.connect_seconds) for k, s in servers],
    )
    yield counter("braid_proxy_server_requests", "Requests it answered", labels, [(k, s.requests) for k, s in servers])
    yield counter(
        "braid_proxy_server_failures",
        "Connections and requests that failed",
        labels,
        [(k, s.failures) for k, s in servers],
    )
    yield counter(
        "braid_proxy_server_ejections", "Times it was ejected", labels, [(k, s.ejections) for k, s in servers]
    )
