"""Records of TCP connections as bytes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.tcp.record import TcpRecord, Window, decode_record, encode_record, first_numbers
from topology.model import SocketAddress

RECORD = TcpRecord(
    local=SocketAddress(IPv4Address("10.91.1.173"), 80),
    remote=SocketAddress(IPv4Address("192.0.2.7"), 4000),
    send_next=0x01020304,
    receive_next=0x0A0B0C0D,
    mss=1360,
    scales=(7, 9),
    sack=True,
    timestamp=0x11223344,
    window=Window(0x0A0B0C0C, 64_256, 64_256, 14_600, 0x0A0B0C0D),
    unread=b"GET",
    unacknowledged=b"ab",
)
GOLDEN = bytes.fromhex(
    "01 0e 0550 07 09 0050 0fa0 0a5b01ad c0000207 01020304 0a0b0c0d 11223344"
    "0a0b0c0c 0000fb00 0000fb00 00003908 0a0b0c0d 00000003 00000002 00000000 474554 6162"
)

numbers = st.integers(0, 2**32 - 1)
ports = st.integers(0, 65535)


@st.composite
def records(draw: st.DrawFn) -> TcpRecord:
    hosts = st.ip_addresses(v=draw(st.sampled_from([4, 6])))
    ends = [SocketAddress(draw(hosts), draw(ports)) for _ in range(2)]
    scale = st.integers(0, 14)
    return TcpRecord(
        ends[0],
        ends[1],
        draw(numbers),
        draw(numbers),
        draw(ports),
        draw(st.none() | st.tuples(scale, scale)),
        draw(st.booleans()),
        draw(st.none() | numbers),
        Window(*(draw(numbers) for _ in range(5))),
        *(draw(st.binary(max_size=20)) for _ in range(3)),
    )


def test_a_record_is_written_as_its_picture_says() -> None:
    assert encode_record(RECORD) == GOLDEN
    assert decode_record(GOLDEN) == RECORD


@given(records())
def test_what_is_written_is_read(record: TcpRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(records())
def test_the_first_numbers_are_those_of_the_queues(record: TcpRecord) -> None:
    sent, received = first_numbers(encode_record(record))
    assert (sent + len(record.unacknowledged) + len(record.unsent) - record.send_next) % 2**32 == 0
    assert (received + len(record.unread) - record.receive_next) % 2**32 == 0


def test_there_are_none_in_half_a_record() -> None:
    with pytest.raises(BadPacket):
        first_numbers(GOLDEN[:40])


@given(st.binary(max_size=120) | st.binary(max_size=90).map(lambda tail: GOLDEN[:30] + tail))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        record = decode_record(data)
    except BadPacket:
        return
    assert encode_record(record) == data


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [(0, 2, "record_version"), (1, 0x1E, "record_flags"), (4, 15, "record_scale"), (1, 0x06, "record_timestamp")],
)
def test_what_says_too_much_is_refused(at: int, value: int, reason: str) -> None:
    wrong = bytearray(GOLDEN)
    wrong[at] = value
    with pytest.raises(BadPacket) as refused:
        decode_record(bytes(wrong))
    assert refused.value.reason == reason
    with pytest.raises(BadPacket, match="record_length"):
        decode_record(GOLDEN + b"x")
    with pytest.raises(BadPacket, match="record_truncated"):
        decode_record(GOLDEN[:40])


def test_a_record_grows_older_in_its_timestamp_alone() -> None:
    assert RECORD.after(5).timestamp == 0x11223349
    assert RECORD.quiet is False
    late = replace(RECORD, timestamp=2**32 - 1, unread=b"", unacknowledged=b"")
    assert late.after(2).timestamp == 1
    assert late.quiet
