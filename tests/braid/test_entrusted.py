"""What gateways of a drain, and content proxies, tell each other about who decides about connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.entrusted import Entrust, Entrusted, Entrusting, Follow, decode, encode, is_entrusting
from braid.errors import BadPacket
from braid.transfer import MOST_HELD, is_transfer
from braid.transfer import encode as encode_transfer
from braid.transfer_parts import Assembler, split
from tests.braid.test_transfer_messages import GOLDEN, ID
from tests.braid.test_transfer_progress import GIVEN

REQUEST = GOLDEN["request"]
WHOLE = Entrust(51, 11, 0x01020304, True, "shop", REQUEST, GIVEN)  # type: ignore[arg-type]
NAMES = "000102030405060708090a0b0c0d0e0f"
HEADS = "0033 000b 01020304 01 04 0048 73686f70"
PICTURES: dict[str, Entrusting] = {
    f"01 24 00b2 {NAMES} {HEADS} {encode_transfer(REQUEST).hex()} "
    "01 1c 0046 000102030405060708090a0b0c0d0e0f 01020304 ffffffff 0000000000000005 0000000000000006"
    " 000000000000000b 01 0003 0004 223122 68656164 474554202f20": WHOLE,
    f"01 24 006c {NAMES} {HEADS.replace('01 04', '00 04')} {encode_transfer(REQUEST).hex()}": replace(
        WHOLE, returns=False, promised=None
    ),
    f"01 25 0015 {NAMES} 01": Entrusted(ID, True),
    f"01 26 0014 {NAMES}": Follow(ID),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_golden(picture: str) -> None:
    data = bytes.fromhex(picture)
    assert encode(PICTURES[picture]) == data
    assert decode(data) == PICTURES[picture]
    assert is_entrusting(data)
    assert not is_transfer(data)
    for length in range(len(data)):
        with pytest.raises(BadPacket):
            decode(data[:length])
    for wrong in (data + b"\0", b"\2" + data[1:], data[:1] + b"\x27" + data[2:]):
        with pytest.raises(BadPacket):
            decode(wrong)


@given(data=st.data())
def test_whatever_is_accepted_is_what_would_be_written(data: st.DataObject) -> None:
    picture = bytearray(bytes.fromhex(data.draw(st.sampled_from(list(PICTURES)))))
    for _ in range(data.draw(st.integers(1, 3))):
        picture[data.draw(st.integers(0, len(picture) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = decode(bytes(picture))
    except BadPacket:
        return
    assert encode(message) == bytes(picture)


def test_what_is_long_goes_in_parts_and_what_is_too_long_not_at_all() -> None:
    long = replace(WHOLE, request=replace(WHOLE.request, record=bytes(9000)))
    assembler = Assembler()
    *none, whole = [assembler.receive(31, part, 0.0) for part in split(encode(long))]
    assert (set(none), whole) == ({None}, encode(long))
    longest = replace(WHOLE.request, record=bytes(MOST_HELD - len(WHOLE.request.content)))
    for wrong in (replace(WHOLE, request=longest), replace(WHOLE, age=1 << 32), replace(WHOLE, application="x" * 256)):
        with pytest.raises(ValueError, match=r"bytes|ENTRUST"):
            encode(wrong)


def test_what_it_holds_is_about_the_same_connection() -> None:
    for other in (replace(WHOLE, promised=replace(GIVEN, id=bytes(16))), replace(WHOLE, request=GOLDEN["return"])):
        with pytest.raises(BadPacket):
            decode(encode(other))  # type: ignore[arg-type]
