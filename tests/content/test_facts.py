"""What a worker leaves of a transferred connection for the next one: bytes of all kinds are facts, or a bad packet."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.transfer import TransferCommit, TransferRequest, encode
from content.facts import Facts, decode_facts, encode_facts
from tests.braid.test_transfer_messages import GOLDEN, ID

REQUEST = GOLDEN["request"]
assert isinstance(REQUEST, TransferRequest)
FACTS = Facts(31, "shop", "edge-1", "edge", "gw-a", REQUEST)
MESSAGE = encode(REQUEST)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(words, inner, max_size=6),
    max_leaves=8,
)


@given(st.builds(Facts, st.integers(0, 65_535), words, words, words, words, st.just(REQUEST)))
def test_what_is_written_is_read(facts: Facts) -> None:
    assert decode_facts(encode_facts(facts)) == facts


@given(st.binary(max_size=200), st.booleans())
@example(b"[" * 100_000, True)
@example(b"9" * 5_000, True)
@example(b'["\xff"]', True)
def test_only_bad_packet_escapes(data: bytes, complete: bool) -> None:
    with pytest.raises(BadPacket):
        decode_facts(data + b"\0" + MESSAGE if complete else data)


@given(values)
@example({"31": 1, "shop": 2, "edge-1": 3, "edge": 4, "gw-a": 5})
@example([True, "shop", "edge-1", "edge", "gw-a"])
def test_other_json_is_refused(value: object) -> None:
    match value:
        case [int(peer), *names] if type(peer) is int and [type(name) for name in names] == [str] * 4:
            return
    with pytest.raises(BadPacket):
        decode_facts(json.dumps(value).encode() + b"\0" + MESSAGE)


@given(st.integers(0, len(encode_facts(FACTS)) - 1), st.integers(1, 255))
def test_a_changed_byte_gives_facts_or_a_bad_packet(position: int, change: int) -> None:
    data = bytearray(encode_facts(FACTS))
    data[position] ^= change
    try:
        facts = decode_facts(bytes(data))
    except BadPacket:
        return
    assert decode_facts(encode_facts(facts)) == facts


def test_they_are_about_a_request() -> None:
    words = encode_facts(FACTS).partition(b"\0")[0]
    with pytest.raises(BadPacket):
        decode_facts(words + b"\0" + encode(TransferCommit(ID)))
