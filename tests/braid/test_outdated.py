"""What gateways tell of changed resources: its bytes, and bytes of all kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.messages import MAX_MESSAGE
from braid.outdated import MOST_OUTDATED, Dropped, Outdated, decode, encode, is_outdated
from braid.stored import is_stored
from braid.transfer import is_transfer
from braid.transfer_mail import Inbox
from braid.transfer_parts import split

ID = bytes(range(16))
GOLDEN = {"outdated": Outdated(ID, "http://shop.apps.example/a\xe9"), "dropped": Dropped(ID)}
VECTORS = dict(
    line.split(": ", 1)
    for line in (Path(__file__).parents[1] / "vectors" / "outdated.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
latin = st.text(st.characters(max_codepoint=255), min_size=1, max_size=60)
messages: st.SearchStrategy[Outdated | Dropped] = st.one_of(
    st.builds(Outdated, st.binary(min_size=16, max_size=16), latin),
    st.builds(Dropped, st.binary(min_size=16, max_size=16)),
)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    written = encode(GOLDEN[name])
    assert written.hex() == VECTORS[name].replace(" ", "")
    assert decode(written) == GOLDEN[name]
    assert is_outdated(written)
    assert not is_transfer(written)
    assert not is_stored(written)


@given(messages)
def test_what_is_written_is_read(message: Outdated | Dropped) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=60) | st.builds(lambda rest: b"\x01\x22" + rest, st.binary(max_size=60)))
def test_only_bad_packet_escapes(data: bytes) -> None:
    try:
        message = decode(data)
    except BadPacket:
        return
    assert encode(message) == data


@given(messages, st.integers(0, 400), st.integers(1, 255))
def test_what_is_accepted_is_what_would_be_written(message: Outdated | Dropped, position: int, change: int) -> None:
    data = bytearray(encode(message))
    data[position % len(data)] ^= change
    try:
        changed = decode(bytes(data))
    except BadPacket:
        return
    assert encode(changed) == bytes(data)


def test_an_empty_key_and_a_word_behind_the_answer_are_nothing() -> None:
    with pytest.raises(BadPacket):
        decode(b"\x01\x22\x00\x14" + ID)
    with pytest.raises(BadPacket):
        decode(b"\x01\x23\x00\x15" + ID + b".")


def test_a_long_key_goes_in_parts() -> None:
    message = Outdated(ID, "http://shop.apps.example/" + "x" * 10_000)
    parts = split(encode(message))
    assert all(len(part) <= MAX_MESSAGE for part in parts)
    inbox = Inbox()
    assert [inbox.read(31, part, 0.0) for part in parts] == [None] * (len(parts) - 1) + [message]
    with pytest.raises(ValueError, match="bytes"):
        encode(Outdated(ID, "x" * MOST_OUTDATED))
