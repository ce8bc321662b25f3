"""What proxies tell of their stores: the pages, their messages, and bytes of all kinds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.errors import BadPacket
from braid.messages import MAX_MESSAGE
from braid.stored import (
    MOST_WANTED,
    PAGES,
    Page,
    StoredPages,
    Wanted,
    decode,
    encode,
    is_stored,
    make_page,
    name,
    pack,
    place,
)
from braid.transfer import is_transfer
from topology.model import SocketAddress

CLIENT, VIP = SocketAddress(IPv4Address("10.91.1.10"), 4000), SocketAddress(IPv4Address("10.91.1.130"), 80)
KEY = "http://shop.apps.example/a"
GOLDEN = {
    "stored": StoredPages(1, (Page(7, b""), make_page(place(KEY)[0], [place(KEY)[1]], 1))),
    "wanted": Wanted(CLIENT, VIP, b"GET / HTTP/1.1\r\n\r\n"),
    "wanted_v6": Wanted(SocketAddress(IPv6Address("fd91::a"), 4000), SocketAddress(IPv6Address("fd91::1"), 80), b"GET"),
}
VECTORS = dict(
    line.split(": ", 1)
    for line in (Path(__file__).parents[1] / "vectors" / "stored.txt").read_text().splitlines()
    if line and not line.startswith("#")
)

bits = st.sampled_from([0, 32, 64, 128]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
pages = st.builds(Page, st.integers(0, PAGES - 1), bits)
messages: st.SearchStrategy[StoredPages | Wanted] = st.one_of(
    st.builds(StoredPages, st.integers(0, 2**32 - 1), st.lists(pages, min_size=1, max_size=4).map(tuple)),
    st.builds(Wanted, st.just(CLIENT), st.just(VIP), st.binary(max_size=100)),
)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    assert encode(GOLDEN[name]).hex() == VECTORS[name].replace(" ", "")
    assert decode(bytes.fromhex(VECTORS[name])) == GOLDEN[name]
    assert is_stored(encode(GOLDEN[name]))
    assert not is_transfer(encode(GOLDEN[name]))


def test_a_key_has_the_name_that_the_data_thread_gives_it() -> None:
    assert name(KEY).hex() == VECTORS["key"]


@given(messages)
def test_what_is_written_is_read(message: StoredPages | Wanted) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=80))
def test_only_bad_packet_escapes(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(data)


@given(messages, st.integers(0, 400), st.integers(1, 255))
def test_what_is_accepted_is_what_would_be_written(message: StoredPages | Wanted, position: int, change: int) -> None:
    data = bytearray(encode(message))
    data[position % len(data)] ^= change
    try:
        changed = decode(bytes(data))
    except BadPacket:
        return
    assert encode(changed) == bytes(data)


@pytest.mark.parametrize("count", [1, 30, 500, 819])
def test_a_page_has_what_was_put_in_and_little_else(count: int) -> None:
    marks = [place(f"{KEY}/{number}")[1] for number in range(count)]
    page = make_page(3, marks, count)
    assert all(page.has(mark) for mark in marks)
    others = [place(f"{KEY}?{number}")[1] for number in range(5000)]
    assert sum(page.has(mark) for mark in others) / len(others) < 0.025
    assert not Page(3, b"").has(marks[0])


def test_keys_are_spread_over_all_pages() -> None:
    counts = [0] * PAGES
    for number in range(100_000):
        counts[place(f"{KEY}/{number}")[0]] += 1
    assert min(counts) > 650
    assert max(counts) < 920


def test_pages_are_packed_into_messages_that_fit() -> None:
    full = [make_page(number, [(number, 1, 2, 3, 4)], 800) for number in range(3)]
    empty = [Page(number, b"") for number in range(3, PAGES)]
    packed = pack([*full, *empty], 2**32 - 1)
    assert [message.order for message in packed] == [2**32 - 1, 0, 1, 2][: len(packed)]
    assert [page for message in packed for page in message.pages] == [*full, *empty]
    assert len(packed) == 4
    assert all(len(encode(message)) <= MAX_MESSAGE for message in packed)


def test_a_request_that_is_too_large_is_not_told() -> None:
    assert len(encode(Wanted(GOLDEN_V6.client, GOLDEN_V6.vip, bytes(MOST_WANTED)))) == MAX_MESSAGE
    with pytest.raises(ValueError, match="at most"):
        encode(Wanted(GOLDEN_V6.client, GOLDEN_V6.vip, bytes(MOST_WANTED + 1)))
    with pytest.raises(ValueError, match="families"):
        encode(Wanted(CLIENT, GOLDEN_V6.vip, b""))


GOLDEN_V6 = Wanted(SocketAddress(IPv6Address("fd91::a"), 1), SocketAddress(IPv6Address("fd91::1"), 80), b"")
