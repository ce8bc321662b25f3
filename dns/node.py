"""DNS on its sockets: sockets on every listen address, and a view that follows the health of the edges."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING, Any

import trio

from dns.answer import Responder
from dns.cookies import Cookies
from dns.counters import Counters
from dns.limit import RateLimiter
from dns.sockets import bind
from dns.status import steering_document
from dns.tcp import IDLE_LIMIT, TcpService
from dns.udp import serve_udp
from dns.view import make_view, with_standings
from dns.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dns.config import DnsConfig
    from dns.health import EdgeHealth, HealthTable
    from dns.view import Standings, View

RESTLESS_LOOK, CALM_LOOK = 0.5, 5.0
"""Seconds between looks at everything without news: while an edge is on its way back or down, and otherwise."""
REFRESH_INTERVAL = 0.1
"""Seconds between looks at the health table: what a change waits at most before answers show it."""


class DnsService:
    """The running service, for the node runtime: counters and health for the status page, ``reload`` on SIGHUP."""

    def __init__(
        self,
        config: DnsConfig,
        health: HealthTable,
        clock: Callable[[], float],
        drained: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._health = health
        self._clock = clock
        self._drained = drained
        self._watch = Watch()
        self._glance: object = None
        self._own_secret = secrets.token_bytes(16)
        self.counters = Counters()
        self.responder = Responder(
            make_view(config, self._standings(config)),
            self._cookies(config),
            _limiter(config),
            self.counters,
            tcp_idle=IDLE_LIMIT,
        )

    @property
    def view(self) -> View:
        return self.responder.view

    def refresh(self) -> None:
        """Makes a new view if an edge can do more or less than before.

        Every pair of edge and application is looked at when there is news, and for what only time does; between that
        the edges alone, so that a large topology leaves the node's other tasks their time.
        """
        now, config = self._clock(), self.view.config
        edges = tuple(self._health.edge_health(edge.number, now).standing for edge in config.edges)
        pace = RESTLESS_LOOK if self._watch.restless(now) else CALM_LOOK
        glance = (self._health.revision, self._drained(), edges, int(now / pace))
        if glance == self._glance:
            return
        self._glance = glance
        current = self._standings(config)
        if current != self.view.standings:
            self.counters.switches += sum(current[pair] != self.view.standings.get(pair) for pair in current)
            self.responder.view = with_standings(self.view, current)

    def reload(self, config: DnsConfig) -> bool:
        """Replaces zone and steering between two queries. False when ``listen`` differs: sockets need a restart."""
        self._health.keep(frozenset(edge.number for edge in config.edges))
        before = self.view.config
        self.responder.view = make_view(config, self._standings(config))
        if config.settings != before.settings:
            self.responder.cookies, self.responder.limiter = self._cookies(config), _limiter(config)
        return config.listen == before.listen

    def edges(self) -> tuple[EdgeHealth, ...]:
        now = self._clock()
        return tuple(self._health.edge_health(edge.number, now) for edge in self.view.config.edges)

    def _standings(self, config: DnsConfig) -> Standings:
        return self._watch.standings(config, self._health, self._drained(), self._clock())

    def standings(self) -> dict[str, int]:
        """What edges can do now, as counters are named; and whether that is only what we last knew."""
        edges = self.view.config.edges
        named = {
            f"standings/{application}/{edges[edge].name}": int(standing)
            for (edge, application), standing in self.view.standings.items()
        }
        return named | {"stale": int(self._watch.stale_since is not None)}

    def document(self) -> dict[str, Any]:
        """For ``/dns``."""
        now, since = self._clock(), self._watch.stale_since
        stale = None if since is None else now - since
        return steering_document(self.view, self._health, self._drained(), stale, now)

    def _cookies(self, config: DnsConfig) -> Cookies:
        return Cookies(config.settings.cookie_secrets or (self._own_secret,))


def _limiter(config: DnsConfig) -> RateLimiter:
    return RateLimiter(config.settings.responses_per_second, config.settings.slip)


async def serve(
    config: DnsConfig,
    health: HealthTable,
    *,
    clock: Callable[[], float] = trio.current_time,
    drained: Callable[[], frozenset[str]] = frozenset,
    task_status: trio.TaskStatus[DnsService] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers DNS over UDP and TCP on every ``config.listen`` address until cancelled.

    Starts one task per socket and one that follows ``health``; reports a ``DnsService`` when all sockets are bound.
    ``clock`` must be the one whose times go into ``health``; ``drained`` names the edges that get no new clients; it is
    asked at every look and must not raise. Raises ``DnsBindError`` for an address that cannot be
    had; survives everything a client sends. Cancelling closes sockets and connections at once: resolvers ask again.
    """
    service = DnsService(config, health, clock, drained)
    tcp = TcpService(service.responder)
    datagrams: list[socket.socket] = []
    listeners: list[socket.socket] = []
    try:
        for address in config.listen:
            datagrams.append(await bind(address, socket.SOCK_DGRAM))
            listeners.append(await bind(address, socket.SOCK_STREAM))
        async with trio.open_nursery() as nursery:
            for bound in datagrams:
                nursery.start_soon(serve_udp, bound, service.responder)
            for listener in listeners:
                nursery.start_soon(tcp.serve, listener)
            task_status.started(service)
            while True:
                await trio.sleep(REFRESH_INTERVAL)
                service.refresh()
    finally:
        for bound in [*datagrams, *listeners]:
            bound.close()
