"""What neighbours say about transferred connections, as it comes: bytes are a message, none yet, or a bad packet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from braid import entrusted, missed, outdated, stored, transfer
from braid.errors import BadPacket
from braid.transfer_mail import Inbox
from braid.transfer_parts import PART, split
from braid.transfer_progress import encode_heard, encode_promised, heard_of
from tests.braid import test_entrusted, test_outdated, test_stored, test_transfer_messages
from tests.braid.test_transfer_progress import GIVEN

EXAMPLES: tuple[bytes, ...] = (
    *map(transfer.encode, test_transfer_messages.GOLDEN.values()),
    *(stored.encode(message) for message in test_stored.GOLDEN.values()),
    *(outdated.encode(message) for message in test_outdated.GOLDEN.values()),
    *map(entrusted.encode, test_entrusted.PICTURES.values()),
    missed.encode(missed.Missed(51)),
    encode_promised(GIVEN),
    encode_heard(heard_of(GIVEN)),
)
LONG = split(entrusted.encode(test_entrusted.PICTURES[next(iter(test_entrusted.PICTURES))]).ljust(3000, b"\0"))
"""Parts of what is no message as a whole."""
KINDS = sorted({data[1] for data in EXAMPLES} | {PART})


def read(inbox: Inbox, data: bytes) -> object:
    try:
        return inbox.read(31, data, 0.0)
    except BadPacket as bad:
        return bad


def test_each_kind_is_read() -> None:
    inbox = Inbox()
    for data in EXAMPLES:
        assert inbox.read(31, data, 0.0) is not None, data.hex(" ")


@given(st.sampled_from(KINDS), st.binary(max_size=100), st.booleans())
def test_any_bytes_of_a_known_kind(kind: int, noise: bytes, measured: bool) -> None:
    length = (4 + len(noise)).to_bytes(2, "big") if measured else b"\0\5"
    read(Inbox(), bytes((1, kind)) + length + noise)


@given(st.lists(st.tuples(st.sampled_from(EXAMPLES + LONG), st.integers(0, 1200), st.integers(0, 255)), max_size=12))
def test_changed_bytes_and_what_comes_behind_them(said: list[tuple[bytes, int, int]]) -> None:
    inbox = Inbox()
    for data, place, value in said:
        changed = bytearray(data)
        changed[place % len(data)] = value
        read(inbox, bytes(changed))
    assert inbox.read(31, EXAMPLES[0], 0.0) is not None, "others are read as before"


@given(st.sampled_from(EXAMPLES), st.integers(0, 300))
def test_a_part_of_a_message_is_none(data: bytes, length: int) -> None:
    cut = data[: length % len(data)]
    assert isinstance(read(Inbox(), cut), BadPacket | None)
