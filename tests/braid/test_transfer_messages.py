"""Messages of the transfer protocol: golden vectors, round trips, and bytes of all kinds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.tcp.record import TcpRecord, Window, encode_record
from braid.transfer import (
    MOST_CONTENT,
    MOST_HELD,
    How,
    Numbers,
    Reason,
    Return,
    Returned,
    Steer,
    Steered,
    Terminate,
    Terminated,
    TransferAbort,
    TransferAccept,
    TransferCommit,
    TransferMessage,
    TransferRefuse,
    TransferRequest,
    decode,
    encode,
    fits,
)
from braid.transfer_progress import Seen
from braid.transfer_shape import MOST_WHOLE
from topology.model import SocketAddress

ID = bytes(range(16))
NUMBERS = Numbers(0x01020304, 0xFFFFFFFF)
RECORD = TcpRecord(
    SocketAddress(IPv4Address("10.91.1.173"), 80),
    SocketAddress(IPv4Address("192.0.2.7"), 4000),
    0x01020304,
    0x0A0B0C0D,
    1360,
    (7, 9),
    True,
    0x11223344,
    Window(0x0A0B0C0C, 64_256, 64_256, 14_600, 0x0A0B0C0D),
    b"GET",
)
GOLDEN: dict[str, TransferMessage] = {
    "request": TransferRequest(ID, 100, NUMBERS, (7, 8), b"http://shop.apps.example/a", b"record"),
    "request_of_a_connection": TransferRequest(
        ID, 100, Numbers(0x01020304, 0x0A0B0C0A), (7, 8), b"http://shop.apps.example/a", encode_record(RECORD)
    ),
    "accept": TransferAccept(ID, 1000, NUMBERS),
    "refuse": TransferRefuse(ID, Reason.CONTENT),
    "commit": TransferCommit(ID),
    "terminate": Terminate(ID, How.FIN, 0xFFFFFFFF),
    "terminated": Terminated(ID, True),
    "abort": TransferAbort(ID, Reason.STALE),
    "return": Return(ID, NUMBERS, b"record"),
    "returned": Returned(ID, False),
    "steer": Steer(
        ID, 1, 51, SocketAddress(IPv4Address("10.91.1.10"), 4000), SocketAddress(IPv4Address("10.91.1.130"), 80)
    ),
    "steer_v6": Steer(
        ID, 2, None, SocketAddress(IPv6Address("fd91::a"), 4000), SocketAddress(IPv6Address("fd91::1"), 80)
    ),
    "steered": Steered(ID, 1, True),
    "steered_seen": Steered(ID, 1, True, Seen(spoken=True, client=0x01020304)),
}
VECTORS = dict(
    line.split(": ", 1)
    for line in (Path(__file__).parents[1] / "vectors" / "transfer.txt").read_text().splitlines()
    if line and not line.startswith("#")
)

words = st.integers(0, 2**32 - 1)
shorts = st.integers(0, 2**16 - 1)
sequence = st.none() | words
ids = st.binary(min_size=16, max_size=16)
numbers = st.builds(Numbers, words, words)
reasons = st.sampled_from(Reason)
records = st.binary(max_size=200)


def steers(host: type[IPv4Address] | type[IPv6Address]) -> st.SearchStrategy[Steer]:
    ends = st.builds(SocketAddress, st.integers(0, 2**32 - 1).map(host), shorts)
    return st.builds(Steer, ids, words, st.none() | st.integers(1, 65535), ends, ends)


messages: st.SearchStrategy[TransferMessage] = st.one_of(
    st.builds(
        TransferRequest, ids, shorts, numbers, st.tuples(words, words), st.binary(min_size=1, max_size=300), records
    ),
    st.builds(TransferAccept, ids, shorts, numbers),
    st.builds(TransferRefuse, ids, reasons),
    st.builds(TransferCommit, ids),
    st.builds(Terminate, ids, st.sampled_from(How), words),
    st.builds(Terminated, ids, st.booleans()),
    st.builds(TransferAbort, ids, reasons),
    st.builds(Return, ids, numbers, records),
    st.builds(Returned, ids, st.booleans()),
    st.sampled_from((IPv4Address, IPv6Address)).flatmap(steers),
    st.builds(Steered, ids, words, st.booleans(), st.none() | st.builds(Seen, st.booleans(), sequence, sequence)),
)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    assert encode(GOLDEN[name]).hex() == VECTORS[name].replace(" ", "")
    assert decode(bytes.fromhex(VECTORS[name])) == GOLDEN[name]


def test_every_vector_is_tested() -> None:
    assert VECTORS.keys() == GOLDEN.keys()


@given(messages)
def test_what_is_written_is_read(message: TransferMessage) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=80))
def test_only_bad_packet_escapes(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(data)


@given(messages, st.integers(0, 400), st.integers(1, 255))
def test_what_is_accepted_is_what_would_be_written(message: TransferMessage, position: int, change: int) -> None:
    data = bytearray(encode(message))
    data[position % len(data)] ^= change
    try:
        changed = decode(bytes(data))
    except BadPacket:
        return
    assert encode(changed) == bytes(data)


@given(messages, st.integers(1, 60))
def test_cut_and_lengthened_ones_are_refused(message: TransferMessage, count: int) -> None:
    data = encode(message)
    for wrong in (data[:-count], data + bytes(count)):
        with pytest.raises(BadPacket):
            decode(wrong)


def test_a_request_that_fits() -> None:
    content = b"c" * 100
    record = bytes(MOST_HELD - 100)
    assert fits(content, record)
    assert len(encode(TransferRequest(ID, 1, NUMBERS, (0, 0), content, record))) == MOST_WHOLE
    assert not fits(content, record + b"x")
    assert not fits(b"", b"")
    assert not fits(bytes(MOST_CONTENT + 1), b"")
    with pytest.raises(ValueError, match="at most"):
        encode(TransferRequest(ID, 1, NUMBERS, (0, 0), content, record + b"x"))


@pytest.mark.parametrize(
    "message",
    [
        TransferCommit(b"short"),
        TransferAccept(ID, 1 << 16, NUMBERS),
        TransferAccept(ID, 1, Numbers(-1, 0)),
        TransferRequest(ID, 1, NUMBERS, (0, 0), b"", b""),
    ],
)
def test_fields_out_of_range(message: TransferMessage) -> None:
    with pytest.raises(ValueError, match=r"id|format|argument|content"):
        encode(message)
