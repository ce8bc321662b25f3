"""Control messages: golden vectors, round trip, and bytes from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.messages import (
    MAX_DELAY,
    MAX_MESSAGE,
    ApplicationDelay,
    ApplicationReport,
    EdgeMeasures,
    EdgeReport,
    Message,
    decode,
    encode,
    split,
    split_measures,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "control.txt"
REASONS = {"control_short", "control_version", "control_kind", "control_length", "control_field"}
MEANINGS = (
    EdgeReport(0, False, False, ()),
    EdgeReport(0xFFFFFFFE, True, False, (ApplicationReport("shop", 2, 17),)),
    EdgeReport(1, True, True, (ApplicationReport("shop", 0, 255), ApplicationReport("lab", 4, 0))),
    EdgeReport(7, True, False, (ApplicationReport("a", 1, 1),)),
    EdgeMeasures(3, 128, (ApplicationDelay("shop", 123), ApplicationDelay("lab", None))),
    EdgeMeasures(0, 0, ()),
)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
applications = st.builds(ApplicationReport, names, st.integers(0, 4), st.integers(0, 255))
reports = st.builds(
    EdgeReport,
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
    st.lists(applications, max_size=300, unique_by=lambda a: a.name).map(tuple),
)
delays = st.builds(ApplicationDelay, names, st.none() | st.integers(0, MAX_DELAY))
measures = st.builds(
    EdgeMeasures,
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.lists(delays, max_size=300, unique_by=lambda a: a.name).map(tuple),
)


def vectors() -> list[tuple[str, bytes]]:
    lines = [line for line in VECTORS.read_text().splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], bytes.fromhex(line.split(" ", 1)[1])) for line in lines]


def test_golden_messages_have_their_meaning_both_ways() -> None:
    good = [data for verdict, data in vectors() if verdict == "ok"]
    assert [decode(data) for data in good] == list(MEANINGS)
    assert [encode(message) for message in MEANINGS] == good


@pytest.mark.parametrize(("verdict", "data"), [pair for pair in vectors() if pair[0] != "ok"])
def test_golden_faults_are_refused_under_their_reason(verdict: str, data: bytes) -> None:
    with pytest.raises(BadPacket) as caught:
        decode(data)
    assert caught.value.reason == verdict


@given(reports)
def test_round_trip_in_parts(report: EdgeReport) -> None:
    parts = split(report)
    encoded = [encode(part) for part in parts]
    assert all(len(data) <= MAX_MESSAGE for data in encoded)
    assert [decode(data) for data in encoded] == list(parts)
    assert tuple(application for part in parts for application in part.applications) == report.applications
    assert [part.sequence for part in parts] == [(report.sequence + i) % 2**32 for i in range(len(parts))]
    assert {(part.ready, part.draining) for part in parts} == {(report.ready, report.draining)}


@given(measures)
def test_measures_in_parts(said: EdgeMeasures) -> None:
    parts = split_measures(said)
    assert [decode(encode(part)) for part in parts] == list(parts)
    assert tuple(application for part in parts for application in part.applications) == said.applications
    assert [(part.sequence, part.spill) for part in parts] == [
        ((said.sequence + i) % 2**32, said.spill) for i in range(len(parts))
    ]


def check(data: bytes) -> None:
    try:
        message = decode(data)
    except BadPacket as bad:
        if bad.reason not in REASONS:
            raise AssertionError(bad.reason) from bad
        return
    assert encode(message) == data


@given(st.binary(max_size=1200))
def test_any_bytes_decode_or_are_bad(data: bytes) -> None:
    check(data)


@given(
    st.one_of(
        reports.map(lambda report: encode(split(report)[0])), measures.map(lambda said: encode(split_measures(said)[0]))
    ),
    st.data(),
)
def test_mutated_messages_decode_or_are_bad(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    check(data[:at] + draw.draw(st.binary(max_size=4)) + data[at + draw.draw(st.integers(0, 4)) :])


@pytest.mark.parametrize(
    "report",
    [
        EdgeMeasures(0, 256, ()),
        EdgeMeasures(0, 0, (ApplicationDelay("shop", MAX_DELAY + 1),)),
        EdgeMeasures(0, 0, (ApplicationDelay("Shop", 1),)),
        EdgeReport(2**32, True, False, ()),
        EdgeReport(0, True, False, (ApplicationReport("Shop", 1, 1),)),
        EdgeReport(0, True, False, (ApplicationReport("café", 1, 1),)),
        EdgeReport(0, True, False, (ApplicationReport("shop", 1, 256),)),
        EdgeReport(0, True, False, tuple(ApplicationReport(f"{'a' * 50}{i}", 1, 1) for i in range(30))),
    ],
)
def test_what_cannot_be_said_is_a_programming_error(report: Message) -> None:
    with pytest.raises(ValueError, match=r"edge report|ApplicationReport|ApplicationDelay"):
        encode(report)


def test_more_paths_than_the_message_can_say_are_four() -> None:
    encoded = encode(EdgeReport(0, True, False, (ApplicationReport("shop", 9, 1),)))
    assert decode(encoded) == EdgeReport(0, True, False, (ApplicationReport("shop", 4, 1),))
