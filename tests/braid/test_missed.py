"""What an edge tells gateways of a content proxy that it misses."""

from __future__ import annotations

import pytest

from braid.errors import BadPacket
from braid.missed import Missed, decode, encode, is_missed

PICTURE = "01 27 0006 0033"


def test_golden_and_nothing_else() -> None:
    data = bytes.fromhex(PICTURE)
    assert encode(Missed(51)) == data
    assert decode(data) == Missed(51)
    assert is_missed(data)
    wrong = [data[:length] for length in range(len(data))]
    for other in (*wrong, data + b"\0", b"\2" + data[1:], b"\1\x26" + data[2:], data[:3] + b"\7" + data[4:]):
        with pytest.raises(BadPacket):
            decode(other)
