"""DNS on its sockets: sockets on every listen address, and a view that follows the health of the edges."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import trio

from braid import log as logs
from braid.bind import bind
from dns.answer import Responder
from dns.changes import REMEMBERED, Change, changes
from dns.cookies import Cookies
from dns.counters import Counters
from dns.limit import RateLimiter
from dns.powerdns_http import serve_powerdns
from dns.status import steering_document
from dns.tcp import IDLE_LIMIT, TcpService
from dns.udp import serve_udp
from dns.view import make_view, with_outlook
from dns.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from dns.config import DnsConfig
    from dns.geo import GeoDatabase
    from dns.health import EdgeHealth, HealthTable
    from dns.view import Standings, View

RESTLESS_LOOK, CALM_LOOK = 0.5, 5.0
"""Seconds between looks at everything without news: while an edge is on its way back or down, and otherwise."""
log = logs.get(__name__)

DELAY_LOOK = 1.0
"""Seconds between looks at what edges measure."""
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
        geo: GeoDatabase | None = None,
    ) -> None:
        self._health = health
        self._clock = clock
        self._drained = drained
        self._watch = Watch()
        self._glance: object = None
        self._beat = -1
        self._changes: deque[Change] = deque(maxlen=REMEMBERED)
        self._generation, self._made = 1, clock()
        self._own_secret = secrets.token_bytes(16)
        self.counters = Counters()
        self.responder = Responder(
            self._make_view(config, geo),
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
        beat = int(now / DELAY_LOOK)
        if glance == self._glance and beat == self._beat:
            return
        before = self.view
        standings, delays, spill = before.standings, before.delays, before.spill
        if glance != self._glance:
            standings, spill = self._standings(config), self._spill(config)
        if beat != self._beat and self._watch.stale_since is None:
            delays = self._watch.delays(config, self._health, now)
        self._glance, self._beat = glance, beat
        if (standings, delays, spill) != (before.standings, before.delays, before.spill):
            self._replace(with_outlook(before, standings, delays, spill))
            happened = tuple(changes(before, self.view, time.time()))
            self._tell(happened)
            self._count_propagations(happened, self._clock())

    def set_geo(self, geo: GeoDatabase | None) -> None:
        """Goes over to another geo database, or none, between two queries."""
        self._replace(make_view(self.view.config, self.view.standings, self.view.delays, self.view.spill, geo))

    def reload(self, config: DnsConfig) -> bool:
        """Replaces zone and steering between two queries. False when ``listen`` differs: sockets need a restart."""
        self._health.keep(frozenset(edge.number for edge in config.edges))
        before = self.view.config
        self._replace(self._make_view(config, self.view.geo))
        if config.settings != before.settings:
            self.responder.cookies, self.responder.limiter = self._cookies(config), _limiter(config)
        return config.listen == before.listen

    def edges(self) -> tuple[EdgeHealth, ...]:
        now = self._clock()
        return tuple(self._health.edge_health(edge.number, now) for edge in self.view.config.edges)

    def _tell(self, happened: tuple[Change, ...]) -> None:
        for change in happened:
            self.counters.switches[change.application, change.reason] += 1
            self._changes.appendleft(change)
        # One line for an edge, however many applications it has.
        for (edge, reason), count in Counter((change.edge, change.reason) for change in happened).items():
            first = next(change for change in happened if (change.edge, change.reason) == (edge, reason))
            words = {"application": first.application, "before": first.before, "after": first.after}
            log.info("steering changed", edge=edge, reason=reason, applications=count, **words)

    def _count_propagations(self, happened: tuple[Change, ...], now: float) -> None:
        """How long ago the news came that answers follow from ``now`` on."""
        first: dict[tuple[str, str], float] = {}
        for change in happened:
            if change.worse is None:
                continue
            news = self._watch.news(change.edge, change.application, change.worse)
            if news is not None:
                key = change.edge, change.reason
                first[key] = min(news, first.get(key, news))
        for (_, reason), news in first.items():
            self.counters.count_propagation(reason, now - news)

    def _replace(self, view: View) -> None:
        self.responder.view = view
        self._generation, self._made = self._generation + 1, self._clock()

    def _make_view(self, config: DnsConfig, geo: GeoDatabase | None) -> View:
        standings = self._standings(config)
        delays = self._watch.delays(config, self._health, self._clock())
        return make_view(config, standings, delays, self._spill(config), geo)

    def _spill(self, config: DnsConfig) -> dict[int, float]:
        shares = {edge: self._health.spill(each.number) for edge, each in enumerate(config.edges)}
        return {edge: share for edge, share in shares.items() if share > 0}

    def _standings(self, config: DnsConfig) -> Standings:
        return self._watch.standings(config, self._health, self._drained(), self._clock())

    def standings(self) -> dict[str, int]:
        """What edges can do now, as counters are named, delays in microseconds and shares in thousandths; and whether
        that is only what we last knew."""
        view, drained = self.view, self._drained()
        names = view.edge_names
        named = {f"standings/{app}/{names[edge]}": int(standing) for (edge, app), standing in view.standings.items()}
        named |= {f"delays/{app}/{names[edge]}": round(delay * 1000) for (edge, app), delay in view.delays.items()}
        for edge in view.config.edges:
            load = self._health.load(edge.number)
            if load is not None:
                named[f"loads/{edge.name}"] = round(load * 1000)
            named[f"spills/{edge.name}"] = round(self._health.spill(edge.number) * 1000)
            named[f"drained/{edge.name}"] = int(edge.name in drained)
        named["view_generation"] = self._generation
        named["view_age"] = int(self._clock() - self._made)
        return named | {"stale": int(self._watch.stale_since is not None)}

    def document(self) -> dict[str, Any]:
        """For ``/dns``."""
        now, since = self._clock(), self._watch.stale_since
        stale = None if since is None else now - since
        return steering_document(self.view, self._health, self._drained(), stale, now) | {
            "changes": [change.document() for change in self._changes]
        }

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
    geo: GeoDatabase | None = None,
    task_status: trio.TaskStatus[DnsService] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answers DNS over UDP and TCP on every ``config.listen`` address until cancelled.

    Starts one task per socket and one that follows ``health``; reports a ``DnsService`` when all sockets are bound.
    ``clock`` must be the one whose times go into ``health``; ``drained`` names the edges that get no new clients; it is
    asked at every look and must not raise. Raises ``BindError`` for an address that cannot be
    had; survives everything a client sends. Cancelling closes sockets and connections at once: resolvers ask again.
    """
    service = DnsService(config, health, clock, drained, geo)
    tcp = TcpService(service.responder)
    datagrams: list[socket.socket] = []
    listeners: list[socket.socket] = []
    try:
        for address in config.listen:
            datagrams.append(await bind(address, socket.SOCK_DGRAM, "dns_listen"))
            listeners.append(await bind(address, socket.SOCK_STREAM, "dns_listen"))
        feed = None
        if config.powerdns is not None:
            feed = await bind(config.powerdns, socket.SOCK_STREAM, "powerdns")
        async with trio.open_nursery() as nursery:
            for bound in datagrams:
                nursery.start_soon(serve_udp, bound, service.responder)
            for listener in listeners:
                nursery.start_soon(tcp.serve, listener)
            if feed is not None:
                nursery.start_soon(serve_powerdns, feed, service.responder)
            task_status.started(service)
            while True:
                await trio.sleep(REFRESH_INTERVAL)
                service.refresh()
    finally:
        for bound in [*datagrams, *listeners]:
            bound.close()
