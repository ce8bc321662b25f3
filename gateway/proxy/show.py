"""The proxies of a gateway as its status endpoint shows them."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from braid.status.flow import FlowStatus, ProxyServerStatus, ProxyStatus
from gateway.proxy.pool import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.connection import Connection
    from gateway.proxy.events import ClientData, ServerData
    from gateway.proxy.pool import ProxiedApplication
    from gateway.proxy.relay import Relay
    from gateway.proxy.relayed import RelayedConnection
    from gateway.proxy.service import ProxyService

LISTENER = "listener"


def flows(service: ProxyService, limit: int, now: float) -> list[FlowStatus]:
    """Proxied connections, the newest first of each kind."""
    carried = [_flow(each, now) for each in islice(reversed(service.connections), limit)]
    relayed = islice(reversed(service.relay.connections.values()), limit - len(carried))
    return carried + [_relayed(service.relay, each, now) for each in relayed]


def in_data_plane(service: ProxyService) -> dict[int, str]:
    """Why those that went back have their server, by the core's number of a connection."""
    return {
        number: spliced.server.why for each in service.applications.values() for number, spliced in each.spliced.items()
    }


def staying(service: ProxyService) -> dict[str, int]:
    """Connections that are in a stack of this host, by the reason why they cannot move now; most first."""
    why = Counter(_why(each) for each in service.relay.connections.values() if not each.data.tls)
    why.update("plug_in" if _moves(service, each) else LISTENER for each in service.connections if not each.data.tls)
    why.update("tls" if each.moves else LISTENER for each in service.farewell.with_tls)
    return dict(why.most_common())


def _moves(service: ProxyService, connection: Connection) -> bool:
    application = service.applications.get(connection.data.application)
    return application is not None and application.moves


def _why(connection: RelayedConnection) -> str:
    if connection.promoted is None:
        return LISTENER
    if connection.stays:
        return connection.stays
    if connection.speech != "http":
        return "no_answer"
    return "request" if connection.under_way else "not_quiet"


def _flow(connection: Connection, now: float) -> FlowStatus:
    return _status(
        connection.data,
        connection.verdict,
        state=connection.gateway.phase.name.lower(),
        idle=max(0.0, now - connection.gateway.idle_since),
        snat=connection.server.local if connection.server else "",
        connected=connection.server is not None,
        size=(connection.client.bytes_in, connection.client.bytes_out),
        number=connection.promoted.number if connection.promoted else None,
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
        number=connection.promoted.number if connection.promoted else None,
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
    number: int | None,
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
        connection=number,
    )


def proxies(service: ProxyService, now: float) -> tuple[ProxyStatus, ...]:
    return tuple(_proxy(each, now) for each in service.applications.values())


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {f"p{share}": round(ordered[len(ordered) * share // 100] * 1000, 3) for share in (50, 99)}


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
        open=proxied.open + len(proxied.spliced),
        connections=counters.connections,
        requests=counters.requests,
        refused=dict(sorted(counters.refused.items())),
        servers=tuple(servers),
        accepted_by="fast-path" if proxied.moves else LISTENER,
        promoted=counters.promoted,
        promotion_ms=_percentiles(counters.promotions),
        spliced=counters.spliced,
        open_spliced=len(proxied.spliced),
        stayed=dict(sorted(counters.stayed.items())),
    )
