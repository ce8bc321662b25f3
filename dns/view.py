"""All that answers are made of at one moment: replaced as a whole by one assignment, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from dns.cells import ClientMap
from dns.chaos import chaos_replies, nsid
from dns.policy import STICKY_BITS, Order, Ranking, Standing, prefer, rank, sticky_prefix
from dns.publish import make_zones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dns.cells import Cell
    from dns.config import DnsConfig
    from dns.frequent import Additional
    from dns.zone import Reply, Zones

REMEMBERED = 65_536
"""Choices among equals that are kept: a hash for every edge costs more than the rest of an answer."""

REMEMBERED_RANKINGS = 8_192
"""Some kilobytes each where edges are many; asking for every name from everywhere must not fill the memory."""

Standings = dict[tuple[int, str], Standing]
"""(edge, application) -> standing, for every pair that has a VIP."""


class Reason(StrEnum):
    BEST = "best"
    """The only one at the top."""
    STICKY = "sticky"
    """One of several equals, by the client's prefix."""
    FAIL_OPEN = "fail_open"
    FAIL_CLOSED = "fail_closed"


class Decision(NamedTuple):
    edges: Order
    """Whose VIPs are the answer: one, or all (``FAIL_OPEN``), or none (``FAIL_CLOSED``, or nobody has a VIP)."""
    scope: int
    """Length of the prefix around the client in which everybody gets the same answer."""
    reason: Reason
    ranking: Ranking


@dataclass(frozen=True, slots=True)
class View:
    config: DnsConfig
    zones: Zones
    clients: ClientMap
    chaos: Mapping[bytes, Reply]
    nsid: bytes | None
    edge_names: tuple[str, ...]
    standings: Mapping[tuple[int, str], Standing]
    troubled: frozenset[str]
    """Applications of which not every edge is well: their answers have a short TTL, more may change soon."""
    _alike: dict[str, int] = field(default_factory=dict)
    """Application -> number of its row of standings; those with equal ones share their rankings."""
    _rows: dict[tuple[Standing | None, ...], int] = field(default_factory=dict)
    _rankings: dict[tuple[Cell, int], Ranking] = field(default_factory=dict)
    """Those that somebody has asked for; they depend on nothing but this view."""
    _preferred: dict[tuple[Order, int, int], int] = field(default_factory=dict)
    """Among equals: what clients of a prefix got; they depend on nothing but the configuration."""
    additionals: dict[bytes, Additional] = field(default_factory=dict)
    """Sections that queries came with; they depend on nothing but the settings."""

    def decide(self, version: int, client: int, application: str) -> Decision:
        """For a client's address as an integer. What ``braid dns explain`` shows is this decision."""
        cell, scope = self.clients.find(version, client)
        row = self._alike.get(application)
        if row is None:
            row = self._row(application)
        key = (cell, row)
        ranking = self._rankings.get(key)
        if ranking is None:
            if len(self._rankings) >= REMEMBERED_RANKINGS:
                self._rankings.clear()
            ranking = self._rankings[key] = rank(cell, lambda edge: self.standings.get((edge, application)))
        best = ranking.best
        if len(best) == 1:
            return Decision(best, scope, Reason.BEST, ranking)
        if best:
            place = (best, version, sticky_prefix(version, client))
            chosen = self._preferred.get(place)
            if chosen is None:
                chosen = self._prefer(*place)
            return Decision((chosen,), max(scope, STICKY_BITS[version]), Reason.STICKY, ranking)
        if application in self.config.fail_closed:
            return Decision((), scope, Reason.FAIL_CLOSED, ranking)
        return Decision(tuple(each.edge for each in ranking.candidates), scope, Reason.FAIL_OPEN, ranking)

    def _row(self, application: str) -> int:
        standings = tuple(self.standings.get((edge, application)) for edge in range(len(self.edge_names)))
        row = self._alike[application] = self._rows.setdefault(standings, len(self._rows))
        return row

    def _prefer(self, best: Order, version: int, prefix: int) -> int:
        weights = [edge.weight for edge in self.config.edges]
        if len(self._preferred) >= REMEMBERED:
            self._preferred.clear()
        chosen = self._preferred[best, version, prefix] = prefer(best, self.edge_names, weights, version, prefix)
        return chosen


def make_view(config: DnsConfig, standings: Standings) -> View:
    """``standings`` has every pair of ``config.vips``."""
    clients = ClientMap([edge.serves for edge in config.edges])
    return View(
        config=config,
        zones=make_zones(config),
        clients=clients,
        chaos=chaos_replies(config),
        nsid=nsid(config),
        edge_names=tuple(edge.name for edge in config.edges),
        standings=standings,
        troubled=_troubled(standings),
    )


def with_standings(view: View, standings: Standings) -> View:
    return replace(view, standings=standings, troubled=_troubled(standings), _alike={}, _rows={}, _rankings={})


def _troubled(standings: Standings) -> frozenset[str]:
    return frozenset(application for (_, application), standing in standings.items() if standing is not Standing.UP)
