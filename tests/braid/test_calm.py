"""Links that are well are looked at in turn; what is bad is seen in the second in which it is."""

from __future__ import annotations

from random import Random
from typing import Any

from braid.calm import AT_ONCE, LONGEST, Calm
from braid.status.build import Links, node_status
from braid.status.recorder import Recorder
from tests.braid.fake_node import edge_core, facts, small_topology
from topology.model import HealthSettings

SETTINGS = HealthSettings()
MANY = 5 * AT_ONCE


def entries(count: int, **changes: Any) -> list[dict[str, Any]]:
    """As the core tells them: new objects each second."""
    well = {"up": True, "address": "10.90.0.1:7400", "rtt_us": 20_000, "loss": 0.0}
    return [well | {"node": number} | changes for number in range(count)]


def looked_at(calm: Calm, now: list[dict[str, Any]]) -> set[int]:
    return {held["node"] for held, entry in zip(calm.hold(now, SETTINGS), now, strict=True) if held is entry}


def test_of_many_that_are_well_each_has_its_turn() -> None:
    calm = Calm()
    assert looked_at(calm, entries(MANY)) == set(range(MANY))
    seconds = [looked_at(calm, entries(MANY)) for _ in range(LONGEST)]
    assert all(len(second) == AT_ONCE for second in seconds)
    assert set.union(*seconds) == set(range(MANY))


def test_few_are_looked_at_each_second() -> None:
    calm = Calm()
    for _ in range(4):
        assert len(looked_at(calm, entries(AT_ONCE))) == AT_ONCE


def test_what_is_bad_is_looked_at_at_once_and_until_it_is_over() -> None:
    rng = Random(7)
    for change in ({"up": False}, {"loss": 0.02}, {"rtt_us": 26_000}, {"rtt_us": None}, {"address": "10.90.0.2:7400"}):
        calm = Calm()
        for _ in range(rng.randrange(2, 9)):
            calm.hold(entries(MANY), SETTINGS)
        bad = rng.randrange(MANY)
        now = entries(MANY)
        now[bad] |= change
        assert bad in looked_at(calm, now), change
        again = entries(MANY)
        again[bad] |= change | {"loss": change.get("loss", 0.0)}
        if "up" in change or "loss" in change:
            assert bad in looked_at(calm, again), change
        assert bad in looked_at(calm, entries(MANY)), "and when it is well again"


def test_noise_is_no_news_and_a_drift_is_seen_in_its_turn() -> None:
    calm = Calm()
    calm.hold(entries(MANY), SETTINGS)
    for _ in range(LONGEST):
        assert len(looked_at(calm, entries(MANY, rtt_us=21_000))) == AT_ONCE
    held = calm.hold(entries(MANY, rtt_us=21_500), SETTINGS)
    assert {entry["rtt_us"] for entry in held} == {21_000, 21_500}


def test_who_left_is_forgotten() -> None:
    calm = Calm()
    calm.hold(entries(MANY), SETTINGS)
    assert len(calm.hold(entries(3), SETTINGS)) == 3
    assert looked_at(calm, entries(MANY)) >= set(range(3, MANY))


def test_the_memory_has_all_seconds_of_a_link_that_was_looked_at_in_its_turn() -> None:
    topology, links, recorder, core = small_topology(), Links(), Recorder(), edge_core()
    (first, *_) = core["neighbours"]
    first |= {"up": True, "rtt_us": 20_000, "jitter_us": 10, "loss": 0.0, "tx_datagrams": 0, "rx_datagrams": 0}
    core["neighbours"] = [dict(first)]
    shown = []
    for second in range(1, 12):
        if second % 5 == 1:
            core["neighbours"] = [first | {"tx_datagrams": 10 * second, "rtt_us": 20_000 + second}]
        status = node_status(topology, topology.nodes["edge-fra-1"], core, facts(), links)
        recorder.receive_snapshot(status, 100.0 + second, 1e9 + second)
        shown.append(recorder.shown.neighbours[0])
    assert shown[1] is shown[2] is shown[4]
    assert shown[5] is not shown[4]
    assert shown[10].since == shown[0].since
    (subject,) = [subject for subject in recorder.history.subjects() if subject[1] == "neighbour"]
    values = recorder.history.seconds(subject, 111.0, 10).values
    assert values["tx_per_s"] == [10.0] * 10, "the mean over the seconds between the looks"
    assert [round(value * 1000) for value in values["rtt_ms"] if value is not None] == [20_006] * 5 + [20_011] * 5
