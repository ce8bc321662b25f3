"""Goals are judged by the medians of one run, and what was not measured is not passed."""

from __future__ import annotations

from typing import Any

import pytest

from bench import figures, results
from bench.figures import BRAID_1, BRAID_2, KERNEL, WIREGUARD, WITH_OFFLOAD, Figure
from bench.goals import NOT_MEASURED, Row, rows


def document(values: dict[tuple[str, Figure], list[float]], core: dict[str, float] | None = None) -> dict[str, Any]:
    collected = results.Collected()
    for (contender, figure), taken in values.items():
        for value in taken:
            collected.add(WITH_OFFLOAD, contender, {figure: value})
    collected.add_core({(name, "ns per packet"): value for name, value in (core or {}).items()})
    names = {key: key for key in (KERNEL, BRAID_2, BRAID_1, WIREGUARD)}
    return results.document(collected, machine={}, options={}, names=names, missing=())


def row(found: dict[str, Any], what: str) -> Row:
    return next(row for row in rows(found) if row.what.startswith(what))


@pytest.mark.parametrize(("down", "met"), [(4.1, "goal"), (2.5, "at least"), (2.39, "no")])
def test_the_worse_direction_counts(down: float, met: str) -> None:
    up_figure, down_figure = figures.tcp("up", 1), figures.tcp("down", 1)
    theirs = {(WIREGUARD, up_figure): [2.0], (WIREGUARD, down_figure): [2.0]}
    found = row(document({**theirs, (BRAID_2, up_figure): [9.0], (BRAID_2, down_figure): [down]}), "TCP 1 flow")
    assert (found.met, found.measured) == (met, f"4.50 up, {down / 2:.2f} down")


def test_medians_are_compared() -> None:
    figure = figures.udp(64)
    assert row(document({(BRAID_2, figure): [1.0, 250.0, 120.0]}), "UDP 64").measured == "120,000"


@pytest.mark.parametrize(("microseconds", "met"), [(179, "goal"), (200, "at least"), (251, "no")])
def test_less_delay_is_better_and_the_kernels_is_taken_off(microseconds: float, met: str) -> None:
    figure = figures.round_trip("idle", "p50")
    found = row(document({(KERNEL, figure): [100], (BRAID_2, figure): [microseconds]}), "round trip added")
    assert (found.met, found.measured) == (met, f"{microseconds - 100:.0f} us")


def test_new_flows_are_the_inverse_of_their_time() -> None:
    found = row(document({}, {"nat_new_flow": 4000}), "new flows")
    assert (found.measured, found.met) == ("250,000", "at least")


@pytest.mark.parametrize(("relay", "met"), [(50, "goal"), (60, "at least"), (63, "no")])
def test_of_the_roles_the_one_that_gains_least_from_a_second_shard_counts(relay: float, met: str) -> None:
    times = {"edge_sends": (500, 250), "relay_forwards": (100, relay), "gateway_receives": (500, 250)}
    core = {f"shards_{n + 1}_{what}": taken[n] for what, taken in times.items() for n in (0, 1)}
    found = row(document({}, core), "shards")
    assert (found.met, found.measured) == (met, f"2.00 edge, {100 / relay:.2f} relay, 2.00 gateway")
    assert row(document({}, {"shards_1_edge_sends": 500}), "shards").met == NOT_MEASURED


def test_nothing_measured_meets_nothing() -> None:
    assert {row.met for row in rows(document({}))} == {NOT_MEASURED}
