"""Summaries as messages: what was said arrives, whatever else comes is ``BadPacket``, and later versions are read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.messages import MAX_MESSAGE
from braid.messages import decode as decode_report
from braid.redundancy.verdict import Word
from braid.status.changes import Kind, Tone
from braid.status.summary import (
    ApplicationSummary,
    ArrivalReport,
    ChangeReport,
    LinkReport,
    PathReport,
    RedundancyReport,
    SetReport,
    Summary,
    summary_of,
)
from braid.status.wire import MAX_PARTS, MAX_SEQUENCE, assemble, decode, encode, identity, is_summary
from tests.braid.fake_node import edge_status, redundancy, small_topology

if TYPE_CHECKING:
    from collections.abc import Iterable

numbers = st.integers(1, 65535)
measured = st.none() | st.integers(0, 0xFFFFFFFE)
counts = st.integers(0, (1 << 64) - 1)
bytes_ = st.integers(0, 255)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=120)
links = st.builds(LinkReport, numbers, st.booleans(), measured, measured, measured, measured)
paths = st.builds(
    PathReport, numbers, st.integers(0, 15), st.booleans(), st.booleans(), st.booleans(), measured, counts, measured,
    measured, measured, measured, st.lists(numbers, min_size=1, max_size=5).map(tuple), texts,
)  # fmt: skip
told = st.builds(
    lambda path, reported, lost, mtu: replace(path, reported=reported, lost=lost, mtu=mtu), paths, counts, counts,
    st.none() | st.integers(1, 65535),
)  # fmt: skip
sets = st.builds(
    SetReport, numbers, bytes_, st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), counts, counts, counts, counts,
    texts,
)  # fmt: skip
small, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFE)
redundancies = st.builds(
    RedundancyReport, numbers, st.from_regex(r"[a-z]{1,20}", fullmatch=True),
    st.sampled_from([word.value for word in Word]), texts, st.booleans(), bytes_, bytes_, u32, u32, u32, small, small,
    u32, u32, counts, counts, counts,
)  # fmt: skip
arrivals = st.builds(
    ArrivalReport, numbers, st.integers(0, 15), numbers, counts, counts, st.none() | st.integers(0, 1000)
)
applications = st.builds(
    ApplicationSummary, st.from_regex(r"[a-z]{1,20}", fullmatch=True), bytes_, bytes_, st.integers(0, 65535), measured,
    st.integers(0, 0xFFFFFFFE), bytes_, bytes_, texts,
)  # fmt: skip
changes = st.builds(
    ChangeReport, st.integers(0, 0xFFFFFFFE), st.sampled_from(list(Kind)), st.sampled_from(list(Tone)), texts, texts
)
summaries = st.builds(
    Summary, numbers, st.booleans(), st.booleans(), st.just(False), st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    st.integers(0, 0xFFFFFFFF), texts, *(st.lists(kind, max_size=30).map(tuple)
    for kind in (links, paths | told, arrivals, applications, changes, sets, redundancies)),
    st.none() | st.integers(0, 1000),
)  # fmt: skip


def joined(messages: Iterable[bytes]) -> Summary:
    parts = [decode(message) for message in messages]
    assert [part.part for part in parts] == list(range(parts[0].parts))
    return assemble(parts[0].head, [record for part in parts for record in part.records])


@given(summaries, st.integers(0, MAX_SEQUENCE))
def test_what_was_said_arrives(summary: Summary, sequence: int) -> None:
    messages = encode(summary, sequence, 2.5)
    assert all(len(message) <= MAX_MESSAGE and is_summary(message) for message in messages)
    assert [identity(message) for message in messages] == [
        (summary.origin, sequence, index) for index in range(len(messages))
    ]
    assert decode(messages[0]).interval_s == 2.5
    assert joined(messages) == summary


def test_the_state_of_a_node_arrives() -> None:
    said = summary_of(edge_status(), small_topology(), (), 1_700_000_090.0)
    assert joined(encode(said, 1, 2.0)) == said
    assert [(link.neighbour, link.up, link.rtt_us, link.loss_ppm) for link in said.links] == [
        (22, False, None, None),
        (21, True, 12250, None),
    ]


def test_what_a_target_is_worth_arrives() -> None:
    said = summary_of(replace(edge_status(), redundancy=(redundancy(),)), small_topology(), (), 1_700_000_090.0)
    assert joined(encode(said, 1, 2.0)) == said
    (item,) = said.redundancy
    assert (item.peer, item.verdict, item.using, item.bound_ppb, item.mean_copies_permille) == (
        31,
        "MET",
        2,
        30_000,
        2010,
    )


def test_too_much_is_cut_off_where_it_matters_least_and_says_so() -> None:
    link = LinkReport(1, True, 1, 1, 1, 1)
    broken = replace(link, up=False, neighbour=2)
    summary = Summary(5, True, False, False, "0" * 12, 1, "", links=(broken, *[link] * 5000))
    messages = encode(summary, 1, 2.0)
    assert len(messages) == MAX_PARTS
    cut = joined(messages)
    assert cut.truncated
    assert cut.links[0] == broken
    assert len(encode(summary, 1, 2.0, max_parts=1)) == 1


def test_a_later_version_may_add_fields_and_kinds_of_records() -> None:
    link = LinkReport(7, True, 1, 2, 3, 4)
    (message,) = encode(Summary(5, True, False, False, "0" * 12, 1, "", links=(link,)), 1, 2.0)
    head, record = message[:29], message[29:]
    longer = bytes((record[0], record[1] + 3)) + record[2:] + b"new"
    unknown = bytes((200, 4)) + b"what"
    grown = head[:2] + (29 + len(unknown + longer)).to_bytes(2, "big") + head[4:] + unknown + longer
    assert decode(grown).records == (link,)


@given(summaries, st.data())
def test_any_other_bytes_are_bad_packets(summary: Summary, data: st.DataObject) -> None:
    message = bytearray(encode(summary, 3, 2.0)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(bytes_)
    changed = bytes(message[: data.draw(st.integers(0, len(message)))])
    try:
        part = decode(changed)
    except BadPacket:
        return
    assert part.part < part.parts <= MAX_PARTS
    assert all(text.isprintable() for record in part.records for text in texts_of(record))


def texts_of(record: object) -> list[str]:
    if isinstance(record, str):
        return [record]
    values = [getattr(record, item.name) for item in fields(record)]  # type: ignore[arg-type]
    return [value for value in values if isinstance(value, str)]


@given(st.binary(max_size=MAX_MESSAGE))
def test_noise_is_a_bad_packet(noise: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(b"\x01\x02" + noise)


def test_hostile_fields_are_refused() -> None:
    (good,) = encode(Summary(5, True, False, False, "0" * 12, 1, "x"), 1, 2.0)
    wrong = {
        "control characters": good[:-1] + b"\x1b",
        "not UTF-8": good[:-1] + b"\xff",
        "part beyond parts": good[:6] + b"\x01" + good[7:],
        "no parts": good[:7] + b"\x00" + good[8:],
        "too many parts": good[:7] + b"\xff" + good[8:],
        "sequence that cannot be outrun": good[:8] + b"\xff" * 8 + good[16:],
        "unknown flag": good[:18] + b"\x80" + good[19:],
        "another length": good + b"x",
    }
    accepted = [what for what, message in wrong.items() if not refused(message)]
    assert accepted == []


def refused(message: bytes) -> bool:
    try:
        decode(message)
    except BadPacket:
        return True
    return False


def test_a_reader_of_edge_reports_refuses_it() -> None:
    (message,) = encode(Summary(5, True, False, False, "0" * 12, 1, ""), 1, 2.0)
    with pytest.raises(BadPacket):
        decode_report(message)
