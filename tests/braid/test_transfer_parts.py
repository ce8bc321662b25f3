"""Long messages of the transfer protocol in parts: golden ones, any order, loss, repetition, bytes of all kinds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.messages import MAX_MESSAGE
from braid.transfer import MOST_HELD, Numbers, Return, TransferCommit, TransferRequest, decode, encode
from braid.transfer_parts import MOST_GATHERED, PATIENCE, Assembler, is_part, split

ID = bytes(range(16))
GATEWAY, OTHER = 31, 32
VECTORS = dict(
    line.split(": ", 1)
    for line in (Path(__file__).parents[1] / "vectors" / "transfer_parts.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def request(length: int, id_: bytes = ID) -> TransferRequest:
    record = bytes(at % 251 for at in range(length))
    return TransferRequest(id_, 100, Numbers(1, 2), (7, 8), b"tls://shop.apps.example", record)


def test_golden() -> None:
    first, second = split(encode(request(1100)))
    assert len(first) == MAX_MESSAGE
    assert first[:27].hex() == VECTORS["first_head"].replace(" ", "")
    assert second.hex() == VECTORS["second"].replace(" ", "")
    assert first[27:] + second[27:] == encode(request(1100))


def test_what_fits_goes_as_it_is() -> None:
    for message in (TransferCommit(ID), request(1037)):
        data = encode(message)
        assert split(data) == (data,)
        assert Assembler().receive(GATEWAY, data, 0.0) == data
    assert len(encode(request(1037))) == MAX_MESSAGE


def test_the_longest() -> None:
    parts = split(encode(request(MOST_HELD - 23)))
    assert len(parts) == 16
    assert all(len(part) <= MAX_MESSAGE and is_part(part) for part in parts)


@given(st.integers(1038, MOST_HELD - 23), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_makes_the_whole(length: int, rng) -> None:  # type: ignore[no-untyped-def]
    message = request(length)
    parts = list(split(encode(message)))
    sent = parts + rng.choices(parts, k=3)
    rng.shuffle(sent)
    assembler, wholes, seen = Assembler(), [], set[bytes]()
    for part in sent:
        whole = assembler.receive(GATEWAY, part, 0.0)
        seen.add(part)
        if whole is not None:
            wholes.append(whole)
            assert len(seen) == len(parts), "not before all were there"
    assert wholes
    assert all(decode(whole) == message for whole in wholes)


def test_what_was_lost_is_made_up_by_sending_again() -> None:
    assembler, (first, second) = Assembler(), split(encode(request(1500)))
    assert assembler.receive(GATEWAY, first, 0.0) is None
    assert assembler.receive(GATEWAY, first, 0.01) is None
    assert assembler.receive(GATEWAY, second, 0.01) == encode(request(1500))
    assert len(assembler) == 0


def test_parts_of_two_nodes_or_two_wholes_are_never_mixed() -> None:
    assembler = Assembler()
    (first, _), (_, second) = split(encode(request(1500))), split(encode(request(1501)))
    given_back = split(encode(Return(ID, Numbers(1, 2), bytes(1500))))
    for part in (first, second, given_back[0]):
        assert assembler.receive(GATEWAY, part, 0.0) is None
    assert assembler.receive(OTHER, split(encode(request(1500)))[1], 0.0) is None
    assert len(assembler) == 4
    assert assembler.receive(GATEWAY, given_back[1], 0.0) == encode(Return(ID, Numbers(1, 2), bytes(1500)))


def test_what_stays_in_pieces_is_forgotten_and_bounded() -> None:
    assembler, (first, second) = Assembler(), split(encode(request(1500)))
    assembler.receive(GATEWAY, first, 0.0)
    assert assembler.receive(GATEWAY, second, PATIENCE) is None
    for number in range(2 * MOST_GATHERED):
        assembler.receive(GATEWAY, split(encode(request(1500, number.to_bytes(16, "big"))))[0], PATIENCE)
    assert len(assembler) == MOST_GATHERED


@pytest.mark.parametrize("position", range(27))
def test_a_changed_head_is_refused_or_leads_to_nothing(position: int) -> None:
    parts = split(encode(request(1500)))
    for change, index in product((1, 0x80), range(2)):
        wrong = bytearray(parts[index])
        wrong[position] ^= change
        assembler = Assembler()
        if position == 1:
            assert not is_part(wrong)
            continue
        try:
            assembler.receive(GATEWAY, bytes(wrong), 0.0)
        except BadPacket:
            continue
        assert assembler.receive(GATEWAY, parts[1 - index], 0.0) is None


def test_a_whole_that_is_not_what_its_parts_said() -> None:
    first, second = split(encode(request(1500)))
    wrong = second[:-1] + bytes([second[-1] ^ 1])
    assembler = Assembler()
    assembler.receive(GATEWAY, first, 0.0)
    with pytest.raises(BadPacket):
        assembler.receive(GATEWAY, wrong, 0.0)
    assert len(assembler) == 0


@given(st.binary(max_size=60).map(lambda rest: b"\x01\x1b" + rest))
def test_only_bad_packet_escapes(data: bytes) -> None:
    try:
        assert Assembler().receive(GATEWAY, data, 0.0) is None
    except BadPacket:
        return
