"""From what edges report to the standings that answers follow: drained edges, damping, and being cut off. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dns.damper import Damper
from dns.delays import Settler
from dns.health import REPORT_LIFETIME
from dns.policy import Standing

if TYPE_CHECKING:
    from dns.config import DnsConfig
    from dns.health import HealthTable
    from dns.view import Standings

MEMORY = REPORT_LIFETIME + 1.0
"""Seconds: edges that we are cut off from fall silent one after the other within this time."""


class Watch:
    def __init__(self) -> None:
        self._damper: Damper[tuple[str, str]] = Damper()
        self._past: deque[tuple[float, dict[tuple[str, str], Standing]]] = deque()
        self._frozen: dict[tuple[str, str], Standing] = {}
        self._frozen_until = 0.0
        self._settler = Settler()
        self.stale_since: float | None = None
        """When we found ourselves cut off from every edge; None while we hear one."""

    def restless(self, now: float) -> bool:
        """Whether time alone will soon change the standings."""
        return self._damper.restless or now < self._frozen_until + REPORT_LIFETIME

    def standings(self, config: DnsConfig, health: HealthTable, drained: frozenset[str], now: float) -> Standings:
        """What answers are to follow now. Cut off from every edge, it is what held before the first of them fell
        silent: a server that hears nothing knows nothing worse than that. The same for a moment after the first edge is
        heard again, for those that are not yet."""
        names = {pair: (config.edges[pair[0]].name, pair[1]) for pair in config.vips}
        news = health.take_news()
        if health.cut_off(now):
            if self.stale_since is None:
                self._frozen, self.stale_since = self._before(now - MEMORY), now
                self._damper = Damper()
                self._damper.settle(self._frozen, now)
            self._frozen_until = now + REPORT_LIFETIME
            settled = self._frozen
        else:
            self.stale_since = None
            frozen = self._frozen if now < self._frozen_until else {}
            reported: dict[tuple[str, str], Standing] = {}
            for (edge, application), name in names.items():
                number = config.edges[edge].number
                if name in frozen and health.silent(number, now):
                    reported[name] = frozen[name]
                else:
                    reported[name] = health.standing(number, application, now, config.copies.get(application, 1))
            numbers = {edge.name: edge.number for edge in config.edges}

            def became_known(name: tuple[str, str]) -> float | None:
                number = numbers[name[0]]
                if number in news or reported[name] is not Standing.DOWN:
                    return news.get(number)
                heard = health.heard(number, name[1])
                # While it was us who heard nothing, silence said nothing.
                return None if heard is None else max(heard, self._frozen_until - REPORT_LIFETIME)

            settled = self._damper.settle(reported, now, became_known)
            self._remember(settled, now)
        return {pair: _with_drain(settled.get(name, Standing.UP), name[0] in drained) for pair, name in names.items()}

    def news(self, edge: str, application: str, standing: Standing) -> float | None:
        """When the news came for which answers follow ``standing``: the report that said it, of an edge that has fallen
        silent its last one. None for what an operator or a changed file has done."""
        return self._damper.news((edge, application), standing)

    def delays(self, config: DnsConfig, health: HealthTable, now: float) -> dict[tuple[int, str], float]:
        """Milliseconds behind the edges that answers are to follow now, by pair; those that were ever measured. To be
        asked about once per second, and not while cut off: then the last ones hold."""
        measured: dict[str, dict[str, float | None]] = {}
        for edge, application in config.vips:
            found = health.delay(config.edges[edge].number, application)
            measured.setdefault(application, {})[config.edges[edge].name] = found
        settled = self._settler.settle(measured, now)
        return {
            (edge, application): delay
            for edge, application in config.vips
            if (delay := settled[application].get(config.edges[edge].name)) is not None
        }

    def _remember(self, settled: dict[tuple[str, str], Standing], now: float) -> None:
        if not self._past or self._past[-1][1] != settled:
            self._past.append((now, settled))
        while len(self._past) > 1 and self._past[1][0] <= now - MEMORY:
            self._past.popleft()

    def _before(self, moment: float) -> dict[tuple[str, str], Standing]:
        """What held at ``moment``, or the oldest that is remembered."""
        held = [settled for began, settled in self._past if began <= moment]
        if held:
            return held[-1]
        return self._past[0][1] if self._past else {}


def _with_drain(standing: Standing, drained: bool) -> Standing:
    return Standing.DRAINING if drained and standing.works else standing
