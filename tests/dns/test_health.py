"""When an edge is believed: reports, silence, sessions, restarts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from braid.messages import ApplicationReport, EdgeReport
from dns.health import HealthTable
from dns.policy import Standing
from tests.dns.zone import report

UP, DRAINING, DOWN = Standing.UP, Standing.DRAINING, Standing.DOWN
EDGE, OTHER = 11, 12


def table() -> HealthTable:
    health = HealthTable()
    assert health.receive_report(EDGE, report(100), 10.0)
    return health


def test_before_any_report_everybody_is_up_for_as_long_as_it_takes() -> None:
    health = HealthTable()
    health.neighbour_down(EDGE)
    assert health.standing(EDGE, "shop", 0.0) is health.standing(EDGE, "shop", 1e6) is UP
    assert health.edge_health(EDGE, 5.0).heard_ago is None


def test_who_stays_silent_after_the_others_have_spoken_is_down() -> None:
    health = table()
    assert health.standing(OTHER, "shop", 12.9) is UP
    assert health.standing(OTHER, "shop", 13.1) is DOWN


def test_a_report_lives_three_seconds() -> None:
    health = table()
    assert health.standing(EDGE, "shop", 13.0) is UP
    assert health.standing(EDGE, "shop", 13.01) is DOWN
    health.receive_report(EDGE, report(101), 20.0)
    assert health.standing(EDGE, "shop", 20.0) is UP


def test_three_reports_may_fail_to_come_while_the_session_is_down() -> None:
    health = table()
    health.neighbour_down(EDGE)
    assert health.standing(EDGE, "shop", 11.5) is UP
    assert health.standing(EDGE, "shop", 11.51) is DOWN
    assert not health.edge_health(EDGE, 12.0).session_up
    health.neighbour_up(EDGE)
    assert health.standing(EDGE, "shop", 11.51) is UP


def test_a_report_shows_that_the_session_works() -> None:
    health = table()
    health.neighbour_down(EDGE)
    health.receive_report(EDGE, report(101), 12.5)
    assert health.standing(EDGE, "shop", 13.0) is UP
    assert health.edge_health(EDGE, 13.0).session_up


def test_what_the_report_says() -> None:
    for given_report, expected in (
        (report(101, ready=False), DOWN),
        (report(101, draining=True), DRAINING),
        (report(101, ready=False, draining=True), DRAINING),
        (report(101, usable=0), DOWN),
        (report(101, usable=1), UP),
    ):
        health = table()
        health.receive_report(EDGE, given_report, 10.5)
        assert health.standing(EDGE, "shop", 10.5) is expected


def test_applications_are_judged_one_by_one() -> None:
    health = HealthTable()
    health.receive_report(EDGE, EdgeReport(1, True, False, (ApplicationReport("shop", 2, 0),)), 0.0)
    health.receive_report(EDGE, EdgeReport(2, True, False, (ApplicationReport("deep", 0, 0),)), 0.1)
    assert health.standing(EDGE, "shop", 1.0) is UP
    assert health.standing(EDGE, "deep", 1.0) is DOWN
    assert health.standing(EDGE, "unheard-of", 1.0) is DOWN
    for sequence in range(3, 10):
        health.receive_report(EDGE, EdgeReport(sequence, True, False, (ApplicationReport("deep", 1, 0),)), sequence / 2)
    assert health.standing(EDGE, "shop", 4.5) is DOWN, "not mentioned for three seconds"
    assert health.standing(EDGE, "deep", 4.5) is UP


def test_late_reports_are_ignored_and_a_restart_is_not_late() -> None:
    health = table()
    for late in (100, 99, 93):
        assert not health.receive_report(EDGE, report(late, ready=False), 10.1)
    assert health.standing(EDGE, "shop", 10.1) is UP
    assert health.receive_report(EDGE, report(92, ready=False), 10.2)
    assert health.standing(EDGE, "shop", 10.2) is DOWN


def test_sequences_wrap() -> None:
    health = HealthTable()
    assert health.receive_report(EDGE, report(2**32 - 1), 0.0)
    assert health.receive_report(EDGE, report(0), 0.1)
    assert not health.receive_report(EDGE, report(2**32 - 1), 0.2)


def test_edges_that_left_the_topology_are_forgotten() -> None:
    health = table()
    health.receive_report(OTHER, report(1), 10.0)
    health.keep(frozenset({OTHER}))
    assert health.edge_health(EDGE, 10.0).heard_ago is None
    assert health.edge_health(OTHER, 10.0).heard_ago == 0.0


events = st.lists(
    st.tuples(
        st.sampled_from(["report", "down", "up", "wait"]),
        st.sampled_from([EDGE, OTHER]),
        st.integers(0, 2**32 - 1),
        st.booleans(),
        st.floats(0, 4),
    ),
    max_size=40,
)


@given(events)
def test_up_needs_a_fresh_report_once_anybody_has_spoken(history: list[tuple[str, int, int, bool, float]]) -> None:
    health, now, first = HealthTable(), 0.0, None
    accepted: dict[int, float] = {}
    for kind, edge, sequence, ready, step in history:
        now += step
        if kind == "report":
            first = now if first is None else first
            if health.receive_report(edge, report(sequence, ready=ready), now):
                accepted[edge] = now
        elif kind == "down":
            health.neighbour_down(edge)
        elif kind == "up":
            health.neighbour_up(edge)
        for number in (EDGE, OTHER):
            if health.standing(number, "shop", now) is not DOWN and first is not None:
                assert now - accepted.get(number, first) <= 3.0


def test_only_news_count_as_such() -> None:
    health = table()
    seen = [health.revision]
    for change in (
        lambda: health.receive_report(EDGE, report(101), 10.5),
        lambda: health.receive_report(EDGE, report(102, usable=1), 11.0),
        lambda: health.receive_report(EDGE, report(103, usable=1, draining=True), 11.5),
        lambda: health.receive_report(EDGE, report(103), 11.5),
        lambda: health.neighbour_down(EDGE),
        lambda: health.neighbour_up(EDGE),
        lambda: health.neighbour_up(EDGE),
        lambda: health.receive_report(OTHER, report(1), 12.5),
    ):
        change()
        seen.append(health.revision)
    assert [after > before for before, after in pairwise(seen)] == [False, True, True, False, True, True, False, True]
