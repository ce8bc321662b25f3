"""What the edges report of themselves, and when to stop believing it. Pure: ``now`` is in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dns.policy import Standing

if TYPE_CHECKING:
    from braid.messages import ApplicationReport, EdgeReport

REPORT_LIFETIME = 3.0
"""Seconds after which a report is worth nothing: six of them have failed to come."""
DOWN_PATIENCE = 1.5
"""Seconds a neighbour session may be down before its edge is: a rekey or a restart is shorter."""
START_PATIENCE = 3.0
"""Seconds after the first report of any edge in which another one that has said nothing yet counts as up."""
REORDERING = 8
"""A report this much behind the last one is late; further behind, the edge has been restarted."""
FULL_LOAD = 230
"""Of 255: a load from which on an edge should get no more clients."""


@dataclass(frozen=True, slots=True)
class EdgeHealth:
    """One edge as seen now: for the status page."""

    edge: int
    standing: Standing
    heard_ago: float | None
    """Seconds since the last report; None before the first."""
    session_up: bool


@dataclass(slots=True)
class _Edge:
    sequence: int
    heard: float
    ready: bool
    draining: bool
    applications: dict[str, tuple[ApplicationReport, float]]


class HealthTable:
    """Edges by node number. Until the first report of any of them all count as up, so that answers follow the
    configured order: a DNS node that hears nobody knows no better."""

    def __init__(self) -> None:
        self._first_report: float | None = None
        self._edges: dict[int, _Edge] = {}
        self._down_since: dict[int, float] = {}
        self.revision = 0
        """Grows with everything that is news: a report that says the same again is none."""

    def receive_report(self, edge: int, report: EdgeReport, now: float) -> bool:
        """Returns False for a report that is older than one already seen."""
        known = self._edges.get(edge)
        if known is not None and (known.sequence - report.sequence) % (1 << 32) < REORDERING:
            return False
        self.neighbour_up(edge)
        if self._first_report is None:
            self._first_report = now
        if known is None:
            known = self._edges[edge] = _Edge(report.sequence, now, not report.ready, report.draining, {})
        news = (known.ready, known.draining) != (report.ready, report.draining)
        known.sequence, known.heard, known.ready, known.draining = report.sequence, now, report.ready, report.draining
        for application in report.applications:
            news |= known.applications.get(application.name, (None,))[0] != application
            known.applications[application.name] = (application, now)
        self.revision += news
        return True

    def neighbour_down(self, edge: int, now: float) -> None:
        """The session with the edge has fallen silent or was closed."""
        self._down_since.setdefault(edge, now)
        self.revision += 1

    def neighbour_up(self, edge: int) -> None:
        if self._down_since.pop(edge, None) is not None:
            self.revision += 1

    def keep(self, edges: frozenset[int]) -> None:
        """Forgets every other edge, after a reload."""
        self._edges = {number: edge for number, edge in self._edges.items() if number in edges}
        self._down_since = {number: since for number, since in self._down_since.items() if number in edges}

    def standing(self, edge: int, application: str, now: float, wanted: int = 1) -> Standing:
        """``wanted``: disjoint paths that the application asks for; with fewer the edge is DEGRADED. DOWN also for an
        application that the edge has not mentioned for ``REPORT_LIFETIME``."""
        general = self._edge_standing(edge, now)
        known = self._edges.get(edge)
        if known is None or general is Standing.DOWN:
            return general
        report, heard = known.applications.get(application, (None, now))
        if report is None or report.usable == 0 or now - heard > REPORT_LIFETIME:
            return Standing.DOWN
        if general is not Standing.UP:
            return general
        if report.usable < wanted:
            return Standing.DEGRADED
        return Standing.FULL if report.load >= FULL_LOAD else Standing.UP

    def silent(self, edge: int, now: float) -> bool:
        """Whether an edge that was heard once is heard no more."""
        known = self._edges.get(edge)
        return known is not None and (
            now - known.heard > REPORT_LIFETIME or now - self._down_since.get(edge, now) > DOWN_PATIENCE
        )

    def cut_off(self, now: float) -> bool:
        """Whether every edge that was ever heard has fallen silent: then it is rather us who are cut off."""
        return bool(self._edges) and all(self.silent(edge, now) for edge in self._edges)

    def report(self, edge: int, application: str) -> ApplicationReport | None:
        """The last one, whatever its age."""
        known = self._edges.get(edge)
        return None if known is None or application not in known.applications else known.applications[application][0]

    def edge_health(self, edge: int, now: float) -> EdgeHealth:
        known = self._edges.get(edge)
        ago = None if known is None else now - known.heard
        return EdgeHealth(edge, self._edge_standing(edge, now), ago, edge not in self._down_since)

    def _edge_standing(self, edge: int, now: float) -> Standing:
        known = self._edges.get(edge)
        if known is None:
            waiting = self._first_report is None or now - self._first_report <= START_PATIENCE
            return Standing.UP if waiting else Standing.DOWN
        if self.silent(edge, now):
            return Standing.DOWN
        if known.draining:
            return Standing.DRAINING
        return Standing.UP if known.ready else Standing.DOWN
