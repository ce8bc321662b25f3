from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from content.entry import Entry, decode, encode
from content.freshness import Times
from content.message import Head

ENTRY = Entry(
    "0" * 32,
    "http://shop.apps.example/a",
    ((b"accept", b"text/html"),),
    Head(200, ((b"etag", b'"1"'), (b"set-cookie", b"a"), (b"set-cookie", b"b")), b"OK"),
    Times(1_700_000_000.0, 1_700_000_000.5),
    5,
    0x3610A686,
)
GOLDEN = """
42524331 00000092 5af2ecf8
0000000000000005 3610a686 41d954fc40000000 41d954fc40200000 00c8
001a 687474703a2f2f73686f702e617070732e6578616d706c652f61 0002 4f4b
0003 0004 65746167 00000003 223122 000a 7365742d636f6f6b6965 00000001 61 000a 7365742d636f6f6b6965 00000001 62
0001 0006 616363657074 00000009 746578742f68746d6c
"""

words = st.binary(max_size=30)
headers = st.lists(st.tuples(words, words), max_size=5).map(tuple)


def test_the_file_is_as_the_picture_says() -> None:
    assert encode(ENTRY).hex() == GOLDEN.replace(" ", "").replace("\n", "")
    assert decode(ENTRY.id, encode(ENTRY)) == ENTRY


@given(
    st.builds(
        Entry,
        st.just("ab"),
        st.text(st.characters(max_codepoint=255), max_size=50),
        headers,
        st.builds(Head, st.integers(100, 599), headers, words),
        st.builds(Times, st.floats(0, 1e11), st.floats(0, 1e11)),
        st.integers(0, 2**63),
        st.integers(0, 2**32 - 1),
    )
)
def test_what_is_written_is_read(entry: Entry) -> None:
    assert decode("ab", encode(entry)) == entry


@given(st.binary(max_size=200))
def test_only_bad_packet_escapes(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode("x", data)


@given(st.integers(0, len(encode(ENTRY)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(position: int, change: int) -> None:
    data = bytearray(encode(ENTRY))
    data[position] ^= change
    with pytest.raises(BadPacket):
        decode("x", bytes(data))


@given(st.binary(max_size=200), st.integers(0, 160), st.integers(0, 200))
def test_a_file_that_says_that_it_is_right_is_an_entry_or_bad(noise: bytes, position: int, behind: int) -> None:
    """As if somebody had written it, with the length and the checksum that it has to have."""
    body = encode(ENTRY)[12:]
    body = body[:position] + noise + body[position + behind :]
    data = b"BRC1" + struct.pack("!II", 12 + len(body), zlib.crc32(body)) + body
    try:
        entry = decode("x", data)
    except BadPacket:
        return
    assert encode(entry) == data


def test_heads_are_bounded() -> None:
    large = Entry("a", "k", (), Head(200, ((b"a", bytes(1 << 20)),)), Times(0, 0), 0, 0)
    with pytest.raises(ValueError, match="head"):
        encode(large)
