"""All that answers are made of at one moment: replaced as a whole by one assignment, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from dns.asker import Asker
from dns.cells import ClientMap
from dns.chaos import chaos_replies, nsid
from dns.client import sender
from dns.distance import Way, great_circle_km
from dns.policy import STICKY_BITS, Order, Ranking, Standing, prefer, rank, spilled, sticky_prefix
from dns.publish import make_zones

if TYPE_CHECKING:
    from dns.asker import Additional
    from dns.cells import Cell
    from dns.client import Client
    from dns.config import DnsConfig
    from dns.geo import GeoDatabase
    from dns.zone import Reply, Zones
    from topology.model import Location

REMEMBERED = 65_536
"""Choices among equals that are kept: a hash for every edge costs more than the rest of an answer."""

REMEMBERED_SENDERS = 16_384

REMEMBERED_RANKINGS = 8_192
"""Some kilobytes each where edges are many; asking for every name from everywhere must not fill the memory."""

Standings = Mapping[tuple[int, str], Standing]
"""(edge, application) -> standing, for every pair that has a VIP."""
Edges = frozenset[int]
NO_EDGES: Edges = frozenset()


class Reason(StrEnum):
    BEST = "best"
    """The only one at the top."""
    FASTEST = "fastest"
    """Of several equals the one through which the client is clearly sooner at the application."""
    NEAREST = "nearest"
    """Of several equals the one nearest to the client."""
    STICKY = "sticky"
    """One of several equals, by the client's prefix."""
    FAIL_OPEN = "fail_open"
    FAIL_CLOSED = "fail_closed"


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """What is decided of an application for all clients of a cell."""

    ranking: Ranking
    edge: int | None
    """The one that all of them get."""
    equals: Order
    """Those of which each gets one; empty when more of a client must be looked at."""
    reason: Reason


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Applications whose edges stand equally and are equally far away: what is decided of one holds for all."""

    settled: dict[Cell, Settled] = field(default_factory=dict)


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
    standings: Standings
    troubled: frozenset[str]
    """Applications of which not every edge is well: their answers have a short TTL, more may change soon."""
    delays: Mapping[tuple[int, str], float] = field(default_factory=dict)
    """(edge, application) -> milliseconds of the round trip behind the edge, settled."""
    spill: Mapping[int, float] = field(default_factory=dict)
    """Edge -> share of its clients that get another one, above 0."""
    geo: GeoDatabase | None = None
    _rows: dict[str, Row] = field(default_factory=dict)
    """By application."""
    _alike: dict[tuple[tuple[Standing | None, float | None], ...], Row] = field(default_factory=dict)
    """By standings and delays."""
    _rankings: dict[tuple[Cell, Row, Location | None, Edges], Ranking] = field(default_factory=dict)
    """Those that somebody has asked for; they depend on nothing but this view."""
    _spilled: dict[tuple[int, int], Edges] = field(default_factory=dict)
    """Clients' prefixes -> the edges that spill them."""
    preferred: dict[tuple[Order, tuple[int, int]], int] = field(default_factory=dict)
    """Among equals: what clients of a prefix got; they depend on nothing but the configuration."""
    senders: dict[bytes, Asker] = field(default_factory=dict)
    """By packed address; they depend on nothing but the configuration."""
    additionals: dict[bytes, Additional] = field(default_factory=dict)
    """Sections that queries came with; they depend on nothing but the configuration."""

    def decide(self, version: int, client: int, application: str) -> Decision:
        """For a client's address as an integer. What ``braid dns explain`` shows is this decision."""
        cell, scope = self.clients.find(version, client)
        settled = self.settle(application, cell)
        ranking, best = settled.ranking, settled.equals
        if settled.edge is not None:
            return Decision(best, scope, settled.reason, ranking)
        if not best:
            ranking, scope = self._narrowed(cell, application, version, client, scope)
            best = ranking.best
        if len(best) == 1:
            return Decision(best, scope, _why(ranking), ranking)
        if best:
            chosen = self._prefer(best, version, sticky_prefix(version, client))
            return Decision((chosen,), max(scope, STICKY_BITS[version]), Reason.STICKY, ranking)
        if application in self.config.fail_closed:
            return Decision((), scope, Reason.FAIL_CLOSED, ranking)
        return Decision(tuple(each.edge for each in ranking.candidates), scope, Reason.FAIL_OPEN, ranking)

    def settle(self, application: str, cell: Cell) -> Settled:
        """Two look-ups, as it is done for every query."""
        row = self._rows.get(application)
        if row is None:
            row = self._row(application)
        return row.settled.get(cell) or self._settle(row, application, cell)

    def asker(self, client: Client) -> Asker:
        cell, scope = self.clients.find(client.version, client.number)
        prefix_scope = max(scope, STICKY_BITS[client.version])
        if not client.passed_on:
            scope = prefix_scope = 0
        prefix = client.version, sticky_prefix(client.version, client.number)
        return Asker(client, cell, scope, prefix, prefix_scope)

    def sender(self, source: bytes) -> Asker:
        """``source`` is a packed address."""
        found = self.senders.get(source)
        if found is None:
            if len(self.senders) >= REMEMBERED_SENDERS:
                self.senders.clear()
            found = self.senders[source] = self.asker(sender(source))
        return found

    def _row(self, application: str) -> Row:
        pairs = [(edge, application) for edge in range(len(self.edge_names))]
        known = tuple((self.standings.get(pair), self.delays.get(pair)) for pair in pairs)
        row = self._rows[application] = self._alike.setdefault(known, Row())
        return row

    def _settle(self, row: Row, application: str, cell: Cell) -> Settled:
        ranking = self._rank(cell, application, row)
        top, best = ranking.top, ranking.best
        if any(edge in self.spill for edge in top) or (self.geo is not None and len(top) > 1):
            best = ()
        edge = best[0] if len(best) == 1 else None
        found = row.settled[cell] = Settled(ranking, edge, best, _why(ranking) if len(best) == 1 else Reason.STICKY)
        return found

    def _narrowed(self, cell: Cell, application: str, version: int, client: int, scope: int) -> tuple[Ranking, int]:
        """What spilling edges and the place of the client make of a ranking, and of the scope.

        Whether either counts is the same in all of a cell, and the prefixes of both only divide it: so all clients of
        the longest of the prefixes get the same answer, and scopes do not overlap.
        """
        row, full = self._rows[application], NO_EDGES
        ranking = self._rank(cell, application, row)
        if any(edge in self.spill for edge in ranking.top):
            scope = max(scope, STICKY_BITS[version])
            full = self._spilled_for(version, sticky_prefix(version, client))
            ranking = self._rank(cell, application, row, None, full)
        if self.geo is not None and len(ranking.top) > 1:
            place, length = self.geo.find(version, client)
            scope = max(scope, length)
            ranking = self._rank(cell, application, row, place, full)
        return ranking, scope

    def _rank(
        self, cell: Cell, application: str, row: Row, place: Location | None = None, full: Edges = NO_EDGES
    ) -> Ranking:
        key = (cell, row, place, full)
        ranking = self._rankings.get(key)
        if ranking is None:
            if len(self._rankings) >= REMEMBERED_RANKINGS:
                self._rankings.clear()
                for each in self._alike.values():
                    each.settled.clear()
            ranking = self._rankings[key] = self._make_ranking(cell, application, place, full)
        return ranking

    def _make_ranking(self, cell: Cell, application: str, place: Location | None, full: Edges) -> Ranking:
        def standing(edge: int) -> Standing | None:
            known = self.standings.get((edge, application))
            return Standing.FULL if known is not None and known.works and edge in full else known

        def way(edge: int) -> Way:
            location = self.config.edges[edge].location
            distance = None if place is None or location is None else great_circle_km(place, location)
            return Way(self.delays.get((edge, application)), distance)

        return rank(cell, standing, way)

    def _spilled_for(self, version: int, prefix: int) -> Edges:
        found = self._spilled.get((version, prefix))
        if found is None:
            if len(self._spilled) >= REMEMBERED:
                self._spilled.clear()
            names, shares = self.edge_names, self.spill
            found = frozenset(edge for edge in shares if spilled(shares[edge], names[edge], version, prefix))
            self._spilled[version, prefix] = found
        return found

    def _prefer(self, best: Order, version: int, prefix: int) -> int:
        where = (best, (version, prefix))
        chosen = self.preferred.get(where)
        if chosen is None:
            if len(self.preferred) >= REMEMBERED:
                self.preferred.clear()
            weights = [edge.weight for edge in self.config.edges]
            chosen = self.preferred[where] = prefer(best, self.edge_names, weights, version, prefix)
        return chosen


def _why(ranking: Ranking) -> Reason:
    if len(ranking.top) == 1:
        return Reason.BEST
    return Reason.FASTEST if len(ranking.fast) == 1 else Reason.NEAREST


def make_view(
    config: DnsConfig,
    standings: Standings,
    delays: Mapping[tuple[int, str], float] | None = None,
    spill: Mapping[int, float] | None = None,
    geo: GeoDatabase | None = None,
) -> View:
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
        troubled=_troubled(standings, spill or {}),
        delays=delays or {},
        spill=spill or {},
        geo=geo,
    )


def with_outlook(
    view: View, standings: Standings, delays: Mapping[tuple[int, str], float], spill: Mapping[int, float]
) -> View:
    """The same configuration in another state of the edges."""
    return replace(
        view,
        standings=standings,
        troubled=_troubled(standings, spill),
        delays=delays,
        spill=spill,
        _rows={},
        _alike={},
        _rankings={},
        _spilled={},
    )


def _troubled(standings: Standings, spill: Mapping[int, float]) -> frozenset[str]:
    return frozenset(
        application
        for (edge, application), standing in standings.items()
        if standing is not Standing.UP or edge in spill
    )
