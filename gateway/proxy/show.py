"""The proxies of a gateway as its status endpoint shows them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from braid.status.flow import FlowStatus, ProxyServerStatus, ProxyStatus
from gateway.proxy.pool import name_of

if TYPE_CHECKING:
    from gateway.proxy.connection import Connection
    from gateway.proxy.pool import ProxiedApplication
    from gateway.proxy.service import ProxyService


def flows(service: ProxyService, limit: int, now: float) -> list[FlowStatus]:
    """Proxied connections, the newest first."""
    return [_flow(each, now) for each in islice(reversed(service.connections), limit)]


def _flow(connection: Connection, now: float) -> FlowStatus:
    data, server, verdict = connection.data, connection.server, connection.verdict
    return FlowStatus(
        application=data.application,
        protocol="tcp",
        client=str(data.client),
        vip=str(data.vip),
        snat=server.local if server else "",
        target=str(server.data.address) if server else "",
        edge=data.edge,
        state=connection.gateway.phase.name.lower(),
        idle_s=max(0.0, now - connection.gateway.idle_since),
        packets_in=0,
        packets_out=0,
        bytes_in=connection.client.bytes_in,
        bytes_out=connection.client.bytes_out,
        mode="normal",
        why=verdict.why if verdict else "",
    )


def proxies(service: ProxyService, now: float) -> tuple[ProxyStatus, ...]:
    return tuple(_proxy(each, now) for each in service.applications.values())


def _proxy(proxied: ProxiedApplication, now: float) -> ProxyStatus:
    counters = proxied.counters
    servers = []
    for target in proxied.targets:
        name = name_of(target)
        known = counters.servers.get(name)
        active, ejected = proxied.active(target), proxied.ejected(target, now)
        if known is None:
            servers.append(ProxyServerStatus(name, active, ejected))
            continue
        servers.append(
            ProxyServerStatus(
                name,
                active,
                ejected,
                connections=known.connections,
                connect_seconds=known.connect_seconds,
                requests=known.requests,
                failures=known.failures,
                ejections=known.ejections,
            )
        )
    return ProxyStatus(
        application=proxied.name,
        kind=proxied.settings.kind,
        policy=proxied.settings.policy.value,
        open=proxied.open,
        connections=counters.connections,
        requests=counters.requests,
        refused=dict(sorted(counters.refused.items())),
        servers=tuple(servers),
    )
