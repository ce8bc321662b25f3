"""From the news that an edge can do less to answers that follow it, with the time as an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dns.health import HealthTable
from dns.node import DnsService
from tests.dns.zone import ANY, CONFIG, FRA, NYC, report

EDGES = (FRA, NYC, ANY)


class Node:
    """A DNS node that looks every tenth of a second and hears reports every half second."""

    def __init__(self) -> None:
        self.now, self.sequence = 1000.0, 0
        self.drained: frozenset[str] = frozenset()
        self.health = HealthTable()
        self.config = replace(CONFIG, copies={"shop": 2})
        self.service = DnsService(self.config, self.health, lambda: self.now, lambda: self.drained)

    def run(self, seconds: float, *speaking: int, usable: int = 2) -> None:
        for tenth in range(round(seconds * 10)):
            if tenth % 5 == 0:
                self.sequence += 1
                for edge in speaking:
                    self.health.receive_report(edge, report(self.sequence, usable=usable), self.now)
            self.now += 0.1
            self.service.refresh()

    def found(self) -> dict[str, tuple[int, int]]:
        """Reason -> how many, and their sum in milliseconds."""
        counters = self.service.counters
        counts = dict.fromkeys(counters.propagation_ms, 0)
        for (reason, _), count in counters.propagations.items():
            counts[reason] += count
        return {reason: (counts[reason], total) for reason, total in counters.propagation_ms.items()}


@pytest.fixture
def node() -> Node:
    settled = Node()
    settled.run(20, *EDGES)
    assert settled.found() == {}, "edges that are well are no news for the worse"
    return settled


def test_what_an_edge_says_of_itself_counts_from_the_report(node: Node) -> None:
    node.health.receive_report(FRA, report(1000, draining=True), node.now)
    node.health.receive_report(NYC, report(1000, ready=False), node.now + 0.03)
    node.now += 0.07
    node.service.refresh()
    # Once for an edge, not for each of its applications.
    assert node.found() == {"draining": (1, 70), "down": (1, 40)}
    flat = node.service.counters.flat()
    assert (flat["propagations/draining/100"], flat["propagations/down/50"], flat["propagations/down/100"]) == (1, 1, 0)
    assert flat["propagation_ms/draining"] == 70


def test_of_several_news_the_first_one_counts(node: Node) -> None:
    node.health.receive_report(FRA, report(1000, draining=True), node.now)
    node.health.receive_report(FRA, report(1001, draining=True, usable=1), node.now + 0.05)
    node.now += 0.08
    node.service.refresh()
    assert node.found() == {"draining": (1, 80)}


def test_silence_counts_from_the_last_report(node: Node) -> None:
    node.run(1.0, NYC, ANY)
    node.health.neighbour_down(FRA)
    node.run(1.0, NYC, ANY)
    (count, total) = node.found()["down"]
    assert (count, 1500 < total <= 1600) == (1, True)
    node.run(4.0, ANY)
    (count, both) = node.found()["down"]
    assert (count, 3000 <= both - total <= 3100) == (2, True), "without a word of its session"


def test_too_few_paths_count_from_the_report_and_with_the_patience(node: Node) -> None:
    node.run(5.0, *EDGES, usable=1)
    (count, total) = node.found()["degraded"]
    assert (count, 3 * 1600 <= total <= 3 * 2100) == (3, True)
    node.run(30.0, *EDGES)
    assert sum(count for count, _ in node.found().values()) == 3, "better news are not counted"


def test_what_operators_do_is_no_news(node: Node) -> None:
    node.drained = frozenset({"edge-fra-1"})
    node.run(1.0, *EDGES)
    node.service.reload(replace(node.config, copies={"shop": 3}))
    node.run(5.0, *EDGES)
    assert {change["after"] for change in node.service.document()["changes"]} == {"draining", "degraded"}
    assert node.found() == {}


def test_an_edge_that_never_said_anything_gave_no_news() -> None:
    node = Node()
    node.run(10.0, FRA, NYC)
    assert node.service.counters.switches["shop", "down"] == 1
    assert node.found() == {}


def test_to_be_cut_off_is_no_news_of_an_edge(node: Node) -> None:
    node.run(600.0)
    node.run(10.0, NYC, ANY)
    (count, total) = node.found()["down"]
    assert count == 1
    assert total < 4000, "from when others were heard again"
