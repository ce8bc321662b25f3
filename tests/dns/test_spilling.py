"""An edge that cannot carry all its clients: from its meter over its reports to the answers, and back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from braid.messages import ApplicationReport, EdgeMeasures, EdgeReport
from dns.config import Edge
from dns.health import HealthTable
from dns.node import DnsService
from dns.view import Reason
from edge.load import HIGH, LOW, Spill
from tests.dns.zone import CONFIG

CLIENTS = [(10 << 24) + (number << 8) for number in range(900)]
INERTIA = 30.0
"""Seconds in which two thirds of the clients follow a changed answer: its TTL and what they do with it."""


class Overlay:
    """Edges that everybody may use, each with so many clients that it can carry."""

    def __init__(self, *capacities: float) -> None:
        self.now, self.sequence = 0.0, 0
        self.capacities = capacities
        self.spills = [Spill() for _ in capacities]
        self.loads = [0.0] * len(capacities)
        config = replace(
            CONFIG,
            edges=tuple(Edge(f"edge-{n}", n, ()) for n in range(len(capacities))),
            vips={(n, "shop"): (ip_address(f"10.9.0.{n}"),) for n in range(len(capacities))},
            hosts={"shop.apps.example": "shop"},
        )
        self.health = HealthTable()
        self.service = DnsService(config, self.health, lambda: self.now)

    def named(self, clients: int) -> list[int]:
        """The edge of each of the first clients."""
        view = self.service.view
        return [view.decide(4, client, "shop").edges[0] for client in CLIENTS[:clients]]

    def run(self, seconds: int, clients: int) -> set[int]:
        """Clients that were ever named another edge than at the beginning."""
        first, moved = self.named(clients), set[int]()
        view, demand = self.service.view, Counter(first)
        for _ in range(seconds):
            self.now += 1.0
            self.sequence += 1
            if self.service.view is not view:
                view, named = self.service.view, self.named(clients)
                moved |= {n for n, (old, new) in enumerate(zip(first, named, strict=True)) if old != new}
                demand = Counter(named)
            for edge, spill in enumerate(self.spills):
                self.loads[edge] += (demand[edge] / self.capacities[edge] - self.loads[edge]) / INERTIA
                spill.follow(self.loads[edge], self.now)
                load = min(round(self.loads[edge] * 255), 255)
                report = EdgeReport(self.sequence, True, False, (ApplicationReport("shop", 2, load),))
                self.health.receive_report(edge, report, self.now)
                self.health.receive_measures(edge, EdgeMeasures(self.sequence, round(spill.share * 255), ()), self.now)
            self.service.refresh()
        return moved


@pytest.fixture
def overlay() -> Overlay:
    made = Overlay(150, 900, 900)
    made.run(30, 100)
    return made


def test_what_is_too_much_for_an_edge_goes_to_the_others_and_nobody_else_moves(overlay: Overlay) -> None:
    before = overlay.named(900)
    assert Counter(before)[0] > 250, "far more than it can carry"
    moved = overlay.run(900, 900)
    assert LOW < overlay.loads[0] < HIGH
    assert {before[client] for client in moved} == {0}, "clients of the others stay"
    after = overlay.named(900)
    assert {after[client] for client in moved if after[client] != 0} == {1, 2}, "both get some"
    assert overlay.run(300, 900) == set(), "it stays so"
    view = overlay.service.view
    assert view.troubled == {"shop"}, "a short TTL while clients may be sent elsewhere"
    assert {view.decide(4, client, "shop").reason for client in CLIENTS} <= {Reason.STICKY, Reason.BEST}


def test_they_come_back_when_there_are_fewer(overlay: Overlay) -> None:
    overlay.run(600, 900)
    assert overlay.service.view.spill[0] > 0.4
    overlay.run(900, 100)
    assert (overlay.service.view.spill, overlay.service.view.troubled) == ({}, frozenset())
    assert overlay.service.counters.switches["shop", "spill"] > 2
