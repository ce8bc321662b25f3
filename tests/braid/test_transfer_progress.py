"""What a content proxy says of the answers that it sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.transfer import encode, is_transfer
from braid.transfer_parts import Assembler, split
from braid.transfer_progress import (
    MOST_PROMISED,
    Heard,
    Promised,
    decode_heard,
    decode_promised,
    encode_heard,
    encode_promised,
    heard_of,
    is_heard,
    is_promised,
)
from tests.braid.test_transfer_messages import GOLDEN

GIVEN = Promised(bytes(range(16)), 0x01020304, 0xFFFFFFFF, b"head", 5, 6, 11, b'"1"', last=True, request=b"GET / ")
PICTURE = """
    01 1c 0046 000102030405060708090a0b0c0d0e0f 01020304 ffffffff 0000000000000005 0000000000000006 000000000000000b
    01 0003 0004 223122 68656164 474554202f20
"""

HEARD = "01 1d 001c 000102030405060708090a0b0c0d0e0f 01020304 ffffffff"

words, sizes, texts = st.integers(0, 2**32 - 1), st.integers(0, 2**62), st.binary(max_size=100)


@st.composite
def promises(draw: st.DrawFn) -> Promised:
    offset, length = draw(sizes), draw(sizes)
    return Promised(
        draw(st.binary(min_size=16, max_size=16)), draw(words), draw(words), draw(texts), offset, length,
        offset + length + draw(sizes), draw(texts), draw(st.booleans()), draw(texts),
    )  # fmt: skip


def test_golden() -> None:
    assert encode_promised(GIVEN) == bytes.fromhex(PICTURE)
    assert decode_promised(bytes.fromhex(PICTURE)) == GIVEN


def test_what_was_heard_is_said_by_the_numbers_of_the_promise() -> None:
    data = bytes.fromhex(HEARD)
    assert encode_heard(heard_of(GIVEN)) == data
    assert decode_heard(data) == Heard(GIVEN.id, GIVEN.first, GIVEN.request_end)
    assert is_heard(data)
    assert not is_transfer(data)
    assert not is_promised(data)
    for wrong in (data[:-1], data + b"\0", data[:20], b"\2" + data[1:], data[:1] + b"\x1c" + data[2:]):
        with pytest.raises(BadPacket):
            decode_heard(wrong)


@given(promises())
def test_what_is_written_is_read(promised: Promised) -> None:
    data = encode_promised(promised)
    assert is_promised(data)
    assert not is_transfer(data)
    assert decode_promised(data) == promised
    for wrong in (data[:-1], data + b"\0", data[:20]):
        with pytest.raises(BadPacket):
            decode_promised(wrong)


@given(promises(), st.integers(0, 400), st.integers(1, 255))
def test_what_is_accepted_is_what_would_be_written(promised: Promised, position: int, change: int) -> None:
    data = bytearray(encode_promised(promised))
    data[position % len(data)] ^= change
    try:
        changed = decode_promised(bytes(data))
    except BadPacket:
        return
    assert encode_promised(changed) == bytes(data)


@given(st.binary(max_size=120))
def test_only_bad_packet_escapes(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_promised(data)


def test_a_long_one_goes_in_parts_and_one_that_is_too_long_not_at_all() -> None:
    long = Promised(GIVEN.id, 1, 2, bytes(5000), 0, 0, 0, b"", last=False, request=b"")
    assembler = Assembler()
    whole = [assembler.receive(51, part, 0.0) for part in split(encode_promised(long))]
    assert whole[-1] is not None
    assert decode_promised(whole[-1]) == long
    with pytest.raises(ValueError, match="bytes"):
        encode_promised(Promised(GIVEN.id, 1, 2, bytes(MOST_PROMISED), 0, 0, 0, b"", last=False, request=b""))


@pytest.mark.parametrize("name", GOLDEN)
def test_it_is_none_of_the_others(name: str) -> None:
    assert not is_promised(encode(GOLDEN[name]))
