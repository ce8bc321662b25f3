"""The proxies of a gateway as its status endpoint shows them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from braid.status.flow import FlowStatus, ProxyServerStatus, ProxyStatus
from gateway.proxy.pool import name_of

if TYPE_CHECKING:
    from gateway.proxy.connection import Connection
    from gateway.proxy.events import ClientData, ServerData
    from gateway.proxy.pool import ProxiedApplication
    from gateway.proxy.relay import Relay, RelayedConnection
    from gateway.proxy.service import ProxyService


def flows(service: ProxyService, limit: int, now: float) -> list[FlowStatus]:
    """Proxied connections, the newest first of each kind."""
    carried = [_flow(each, now) for each in islice(reversed(service.connections), limit)]
    relayed = islice(reversed(service.relay.connections.values()), limit - len(carried))
    return carried + [_relayed(service.relay, each, now) for each in relayed]


def _flow(connection: Connection, now: float) -> FlowStatus:
    return _status(
        connection.data,
        connection.verdict,
        state=connection.gateway.phase.name.lower(),
        idle=max(0.0, now - connection.gateway.idle_since),
        snat=connection.server.local if connection.server else "",
        connected=connection.server is not None,
        size=(connection.client.bytes_in, connection.client.bytes_out),
    )


def _relayed(relay: Relay, connection: RelayedConnection, now: float) -> FlowStatus:
    state, idle, bytes_in, bytes_out, local = relay.flow(connection, now)
    return _status(
        connection.data,
        connection.server,
        state=state,
        idle=idle,
        snat=local,
        connected=bool(local),
        size=(bytes_in, bytes_out),
    )


def _status(
    data: ClientData,
    verdict: ServerData | None,
    *,
    state: str,
    idle: float,
    snat: str,
    connected: bool,
    size: tuple[int, int],
) -> FlowStatus:
    return FlowStatus(
        application=data.application,
        protocol="tcp",
        client=str(data.client),
        vip=str(data.vip),
        snat=snat,
        target=str(verdict.address) if verdict and connected else "",
        edge=data.edge,
        state=state,
        idle_s=idle,
        packets_in=0,
        packets_out=0,
        bytes_in=size[0],
        bytes_out=size[1],
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
