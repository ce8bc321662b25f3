"""What the edges report of themselves, and when to stop believing it. Pure: ``now`` is in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dns.policy import Standing

if TYPE_CHECKING:
    from braid.messages import ApplicationReport, EdgeMeasures, EdgeReport

REPORT_LIFETIME = 3.0
"""Seconds after which a report is worth nothing: six of them have failed to come."""
DOWN_PATIENCE = 1.5
"""The same, in seconds, while the neighbour session is down: three reports have failed to come, and nothing else came
for a second."""
START_PATIENCE = 3.0
"""Seconds after the first report of any edge in which another one that has said nothing yet counts as up."""
REORDERING = 8
"""A report this much behind the last one is late; further behind, the edge has been restarted."""
ALL_SPILLED = 255
"""The share of its clients (of 255) with which an edge asks for no more of them."""


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


@dataclass(slots=True)
class _Measures:
    sequence: int
    heard: float
    spill: int = 0
    delays: dict[str, float] = field(default_factory=dict)
    """Application -> milliseconds; the last that was measured."""


class HealthTable:
    """Edges by node number. Until the first report of any of them all count as up, so that answers follow the
    configured order: a DNS node that hears nobody knows no better."""

    def __init__(self) -> None:
        self._first_report: float | None = None
        self._edges: dict[int, _Edge] = {}
        self._measures: dict[int, _Measures] = {}
        self._down: set[int] = set()
        self._news: dict[int, float] = {}
        self.revision = 0
        """Grows with everything that is news: a report that says the same again is none."""

    def receive_report(self, edge: int, report: EdgeReport, now: float) -> bool:
        """Returns False for a report that is older than one already seen."""
        known = self._edges.get(edge)
        if known is not None and _is_late(report.sequence, known.sequence):
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
        self._note(edge, news, now)
        return True

    def receive_measures(self, edge: int, measures: EdgeMeasures, now: float) -> bool:
        """Returns False for measures that are older than some already seen. Delays are no news: they change all the
        time."""
        known = self._measures.get(edge)
        if known is None:
            known = self._measures[edge] = _Measures(measures.sequence, now)
        elif _is_late(measures.sequence, known.sequence):
            return False
        self._note(edge, known.spill != measures.spill, now)
        known.sequence, known.heard, known.spill = measures.sequence, now, measures.spill
        for application in measures.applications:
            if application.delay is not None:
                known.delays[application.name] = application.delay / 10
        return True

    def neighbour_down(self, edge: int) -> None:
        """The session with the edge has fallen silent or was closed."""
        self._down.add(edge)
        self.revision += 1

    def neighbour_up(self, edge: int) -> None:
        if edge in self._down:
            self._down.remove(edge)
            self.revision += 1

    def take_news(self) -> dict[int, float]:
        """Edges that have said something new since this was asked last -> when the first of it came."""
        taken, self._news = self._news, {}
        return taken

    def keep(self, edges: frozenset[int]) -> None:
        """Forgets every other edge, after a reload."""
        self._edges = {number: edge for number, edge in self._edges.items() if number in edges}
        self._measures = {number: measures for number, measures in self._measures.items() if number in edges}
        self._down &= edges

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
        return Standing.FULL if self._spill(edge) == ALL_SPILLED else Standing.UP

    def silent(self, edge: int, now: float) -> bool:
        """Whether an edge that was heard once is heard no more."""
        known = self._edges.get(edge)
        if known is None:
            return False
        return now - known.heard > (DOWN_PATIENCE if edge in self._down else REPORT_LIFETIME)

    def heard(self, edge: int, application: str) -> float | None:
        """When the last report came that mentions the application."""
        known = self._edges.get(edge)
        return None if known is None else known.applications.get(application, (None, None))[1]

    def cut_off(self, now: float) -> bool:
        """Whether every edge that was ever heard has fallen silent: then it is rather us who are cut off."""
        return bool(self._edges) and all(self.silent(edge, now) for edge in self._edges)

    def delay(self, edge: int, application: str) -> float | None:
        """Milliseconds of the round trip behind the edge, the last that was measured, whatever its age."""
        known = self._measures.get(edge)
        return None if known is None else known.delays.get(application)

    def spill(self, edge: int) -> float:
        """0..1: the share of its clients that the edge wants to be named another one."""
        return self._spill(edge) / ALL_SPILLED

    def load(self, edge: int) -> float | None:
        """1.0 is full; the last that was reported."""
        known = self._edges.get(edge)
        reports = () if known is None else known.applications.values()
        return max((report.load / 255 for report, _ in reports), default=None)

    def report(self, edge: int, application: str) -> ApplicationReport | None:
        """The last one, whatever its age."""
        known = self._edges.get(edge)
        return None if known is None or application not in known.applications else known.applications[application][0]

    def edge_health(self, edge: int, now: float) -> EdgeHealth:
        known = self._edges.get(edge)
        ago = None if known is None else now - known.heard
        return EdgeHealth(edge, self._edge_standing(edge, now), ago, edge not in self._down)

    def _note(self, edge: int, news: bool, now: float) -> None:
        if news:
            self.revision += 1
            self._news.setdefault(edge, now)

    def _spill(self, edge: int) -> int:
        known = self._measures.get(edge)
        return 0 if known is None else known.spill

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


def _is_late(sequence: int, newest: int) -> bool:
    return (newest - sequence) % (1 << 32) < REORDERING
