"""Messages between keeper and worker: each comes out as it went in, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from content.carry import Answering, Source
from content.words import (
    Configure,
    Done,
    Drain,
    Ended,
    Failed,
    Keep,
    Know,
    Mail,
    Neighbour,
    Own,
    Ready,
    Settled,
    Shown,
    Take,
    Told,
    Word,
    decode,
    encode,
)

ANSWERING = Answering(1, 2, 3, b"head", Source.ORIGIN, 4, 5, 6, b'"\xe9"', last=True)
WORDS: list[Word] = [
    Configure("c-1", "/net.yaml"), Take(1, "192.0.2.1", 0), Take(1 << 62, "[2001:db8::1]:80", -1, b"\0facts"),
    Mail(3, True, b"message"), Neighbour(4, False), Drain(), Done(True), Ready(), Failed(b"no directory"),
    Own("192.0.2.1:1", "192.0.2.2:80", "held"), Keep(5, "a", "b", 6, 7, b"facts"),
    Told(6, ANSWERING), Settled(7), Ended(8), Shown(b"{}"), Know(9, b"facts"),
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_a_word_comes_out_as_it_went_in(word: Word) -> None:
    assert decode(encode(word)) == word


def told(**changes: int) -> bytes:
    """With other bytes at some places."""
    message = bytearray(encode(Told(6, ANSWERING)))
    for place, value in changes.items():
        message[int(place[1:])] = value
    return bytes(message)


@pytest.mark.parametrize(
    "message", [told()[:60], told(_57=6), told(_58=2), told(_59=1), told() + b"x" * 65_536],
)  # fmt: skip
def test_an_answering_that_cannot_be_is_refused(message: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(message)


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\0", b"\xff\0\0\0\x02[]", b"\0\0\0\0\x09[]", b"\0\0\0\0\x02[]", b"\0\0\0\0\x02{}",
        b"\x0d\0\0\0\x03[1]more", b"\x0d\0\0\0\x06[true]", b"\x0d\0\0\0\x05[1.0]"
    ],
)  # fmt: skip
def test_what_is_no_word_is_refused(message: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(message)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_word_or_a_bad_packet(data: bytes) -> None:
    try:
        word = decode(data)
    except BadPacket:
        return
    assert decode(encode(word)) == word


@given(st.sampled_from(WORDS), st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_gives_a_word_or_a_bad_packet(word: Word, at: int, value: int) -> None:
    message = bytearray(encode(word))
    message[at % len(message)] = value
    try:
        decode(bytes(message))
    except BadPacket:
        return
