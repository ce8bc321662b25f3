"""Messages of drains: pictures, and that nothing else is taken for one."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.drained import Order, orders_file, read_orders, write_order
from braid.errors import BadPacket
from braid.moves import Divert, Diverted, Flows, Have, Lease, Leased, Move, Phase, Verdict, decode, encode, is_move

ID = bytes(range(8))
POOLS = (ip_network("10.93.0.128/30"), ip_network("fd93::1:0/126"), ip_network("fd93::9/128"))
EXAMPLES: tuple[Move, ...] = (
    Lease(ID, Phase.ANNOUNCED, 2, True, False, POOLS),
    Lease(ID, Phase.ENDED, 1, False, True, ()),
    Leased(ID, Phase.COPYING, Verdict.SHARDS, False),
    Flows(ID, 7, 1, b"piece"),
    Have(ID, 7, 3, 2, 1),
    Divert(ID, 5, 32, ("shop", "wiki.1")),
    Divert(ID, 6, 0, ()),
    Diverted(ID, 5),
)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written_and_not_shorter_or_longer(message: Move) -> None:
    data = encode(message)
    assert is_move(data)
    assert decode(data) == message
    for length in range(len(data)):
        with pytest.raises(BadPacket):
            decode(data[:length])
    with pytest.raises(BadPacket):
        decode(data + b"\0")


def test_the_picture_of_a_lease() -> None:
    data = encode(Lease(ID, Phase.COPYING, 1, False, True, POOLS[:1]))
    assert data.hex(" ") == "01 28 00 16 00 01 02 03 04 05 06 07 01 01 02 01 04 1e 0a 5d 00 80"


@given(st.sampled_from(EXAMPLES), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
def test_changed_bytes_are_another_message_or_bad(message: Move, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encode(message))
    for place, value in changes:
        data[place % len(data)] = value
    try:
        found = decode(bytes(data))
    except BadPacket:
        return
    assert encode(found) == bytes(data)


def test_what_does_not_fit_is_not_sent() -> None:
    for message in (Divert(ID, 0, 32, ("a" * 60,) * 20), Flows(ID, 0, 0, bytes(1100)), Have(ID, 0, 1 << 16, 0, 0)):
        with pytest.raises(ValueError, match=type(message).__name__):
            encode(message)


def test_orders_outlive_the_process_and_each_gateway_has_its_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = orders_file(tmp_path / "topology.yaml")
    assert read_orders(file) == {}
    write_order(file, "gw-a", Order("gw-b", routed=True))
    write_order(file, "gw-c", Order("gw-d"))
    write_order(file, "gw-c", Order("gw-d", back=True))
    assert read_orders(file) == {"gw-a": Order("gw-b", routed=True), "gw-c": Order("gw-d", back=True)}
    write_order(file, "gw-a", None)
    assert read_orders(file) == {"gw-c": Order("gw-d", back=True)}
    file.write_text("gw-e\ngw-f gw-g sideways\n# gw-h gw-i\n gw-j  gw-k # why\n")
    assert read_orders(file) == {"gw-j": Order("gw-k")}
