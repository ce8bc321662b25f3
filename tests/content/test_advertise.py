"""What gateways learn of a store, over a network that loses and reorders."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random

import pytest

from braid.stored import MOST_WANTED, PAGES, StoredPages, Wanted, decode, encode, place
from content.advertise import EVERY, MOST_CHANGED, MOST_FLOORS, Advertised, Floor, floors_of
from content.entry import Entry
from content.freshness import Times
from content.message import Head
from gateway.transfer.offer import fields_of
from gateway.transfer.stored import COLD, GOOD_FOR, PAUSE, Is, StoredTable
from topology.transfer import TransferRow
from topology.values import socket_address

PROXY = 51
TURNS = 6 * PAGES
"""Every page is in its turn often enough to arrive at 30 % loss."""


def following(order: int = 0) -> Advertised:
    """Everything is large enough."""
    advertised = Advertised(order)
    advertised.set_floors((Floor("", 0),))
    return advertised


def entry(key: str, length: int = 1, until: float = 1e9) -> Entry:
    """Fresh until then, as answers that came at 0."""
    head = Head(200, ((b"cache-control", b"max-age=%d" % until),))
    return Entry(f"{hash((key, length, until)) % 2**64:032x}", key, (), head, Times(0.0, 0.0), length, 0)


def add(advertised: Advertised, *keys: str) -> None:
    for key in keys:
        advertised.set(key, [entry(key)])


def tell(advertised: Advertised, table: StoredTable, now: float, loss: float = 0.0, rng: Random | None = None) -> None:
    heard = [decode(encode(message)) for message in advertised.next(now)]
    if rng is not None:
        rng.shuffle(heard)
    for message in heard:
        assert isinstance(message, StoredPages)
        if rng is None or rng.random() >= loss:
            table.receive(PROXY, message, now)


def test_nothing_is_known_before_it_is_told_and_all_at_once_of_a_small_store() -> None:
    advertised, table = following(), StoredTable()
    add(advertised, "/a", "/b")
    assert table.look_up(PROXY, "/a", 0.0) is Is.UNKNOWN
    tell(advertised, table, 0.0)
    assert [table.look_up(PROXY, key, 0.0) for key in ("/a", "/b", "/c")] == [Is.STORED, Is.STORED, Is.ABSENT]
    assert table.look_up(PROXY + 1, "/a", 0.0) is Is.UNKNOWN
    advertised.set("/a", [])
    tell(advertised, table, 1.0)
    assert table.look_up(PROXY, "/a", 1.0) is Is.ABSENT
    table.forget(PROXY)
    assert table.look_up(PROXY, "/b", 1.0) is Is.UNKNOWN


@pytest.mark.parametrize("count", [100, 20_000])
def test_what_was_lost_is_told_again(count: int) -> None:
    rng, advertised, table, now = Random(1), following(2**32 - 50), StoredTable(), 0.0
    keys = [f"/{number}" for number in range(count)]
    add(advertised, *keys)
    for _ in range(TURNS):
        tell(advertised, table, now, 0.3, rng)
        now += EVERY
    for key in keys[::2]:
        advertised.set(key, [])
    for _ in range(TURNS):
        tell(advertised, table, now, 0.3, rng)
        now += EVERY
    assert all(table.look_up(PROXY, key, now) is Is.STORED for key in keys[1::2])
    wrong = sum(table.look_up(PROXY, key, now) is Is.STORED for key in keys[::2])
    assert wrong <= count * 0.02


def test_what_is_told_at_one_time_is_bounded() -> None:
    advertised = following()
    add(advertised, *(f"/{number}" for number in range(100_000)))
    sizes = [sum(len(encode(message)) for message in advertised.next(0.0)) for _ in range(40)]
    assert max(sizes) < MOST_CHANGED + 4000
    assert sum(sizes[:16]) > 100_000, "all within some seconds"
    assert sizes[-1] < 2500, "then each in its turn"


def test_an_earlier_message_changes_nothing() -> None:
    advertised, table = following(), StoredTable()
    early = advertised.next(0.0)
    add(advertised, "/a")
    tell(advertised, table, 0.0)
    for message in early:
        table.receive(PROXY, message, 0.1)
    assert table.look_up(PROXY, "/a", 0.1) is Is.STORED


def test_a_proxy_that_says_nothing_is_not_believed_for_long() -> None:
    advertised, table = following(), StoredTable()
    tell(advertised, table, 0.0)
    assert table.look_up(PROXY, "/a", GOOD_FOR) is Is.ABSENT
    assert table.look_up(PROXY, "/a", GOOD_FOR + 1) is Is.UNKNOWN


def test_what_was_refused_is_not_asked_for_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transfer.stored.MOST_COLD", 2)
    table = StoredTable()
    for number, key in enumerate("abc"):
        table.remember_cold(PROXY, key, float(number) / 10)
    found = [table.look_up(PROXY, key, 0.3) for key in "abc"]
    assert found == [Is.UNKNOWN, Is.COLD, Is.COLD], "the oldest is forgotten for want of room"
    assert table.look_up(PROXY, "c", 0.2 + COLD) is Is.UNKNOWN


def test_what_was_no_answer_to_one_request_is_offered_with_other_fields() -> None:
    advertised, table = following(), StoredTable()
    add(advertised, "/a")
    tell(advertised, table, 0.0)
    gzip, brotli = (fields_of(b"GET /a HTTP/1.1\r\nAccept-Encoding: %s\r\n\r\n" % name) for name in (b"gzip", b"br"))
    table.remember_cold(PROXY, "/a", 0.0, gzip)
    assert [table.look_up(PROXY, "/a", 0.1, fields) for fields in (gzip, brotli)] == [Is.COLD, Is.STORED]
    assert table.look_up(PROXY, "/a", COLD, gzip) is Is.STORED
    assert table.look_up(PROXY, "/a", 0.1) is Is.STORED


def test_what_was_refused_is_asked_for_as_soon_as_it_is_told() -> None:
    advertised, table = following(), StoredTable()
    add(advertised, "/stale")
    tell(advertised, table, 0.0)
    for key in ("/absent", "/stale"):
        table.remember_cold(PROXY, key, 0.0)
        assert table.look_up(PROXY, key, 0.1) is Is.COLD
    add(advertised, "/absent")
    tell(advertised, table, 0.5)
    assert table.look_up(PROXY, "/absent", 0.5) is Is.STORED
    assert not table.is_cold(PROXY, "/absent", 0.5)
    assert table.look_up(PROXY, "/stale", 0.5) is Is.COLD, "that it is there was told before"
    assert table.look_up(PROXY, "/stale", COLD) is Is.STORED


def test_a_proxy_is_told_what_it_lacks_when_the_client_has_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.transfer.stored.MOST_COLD", 2)
    table = StoredTable()
    ends = socket_address("198.51.100.7:40000", 0), socket_address("10.91.1.173:80", 0)
    wanted = [Wanted(*ends, b"GET /%d" % number) for number in range(4)]
    assert table.next_timeout() == inf
    assert table.want("cache-1", replace(wanted[0], request=bytes(MOST_WANTED + 1)), 0.0) == inf
    assert table.want("cache-1", wanted[0], 0.0) == PAUSE
    assert table.want("cache-2", wanted[1], 1.0) == PAUSE
    table.want("cache-2", wanted[2], 1.0)
    assert table.take_wanted(PAUSE / 2) == []
    assert table.take_wanted(PAUSE) == [("cache-1", encode(wanted[0]))]
    assert table.next_timeout() == 1.0 + PAUSE
    assert table.take_wanted(2.0) == [("cache-2", encode(wanted[1]))], "the third was too much"


def test_a_new_listener_is_told_all() -> None:
    advertised, table, late = following(), StoredTable(), StoredTable()
    add(advertised, "/a")
    tell(advertised, table, 0.0)
    tell(advertised, late, 0.0)
    page, _ = place("/a")
    assert page > 3, "not among those that were in turn"
    assert late.look_up(PROXY, "/a", 0.0) is Is.UNKNOWN
    advertised.tell_all()
    tell(advertised, late, 0.0)
    assert late.look_up(PROXY, "/a", 0.0) is Is.STORED


SITE = "http://a.example"


def is_told(advertised: Advertised, key: str, now: float) -> bool:
    table = StoredTable()
    advertised.tell_all()
    tell(advertised, table, now)
    return table.look_up(PROXY, key, now) is Is.STORED


def test_only_what_a_row_would_have_is_told() -> None:
    advertised = Advertised()
    for path, length in (("/big/1", 1000), ("/big/2", 999), ("/any/1?q", 1), ("/else", 10**6)):
        advertised.set(SITE + path, [entry(SITE + path, length)])
    told = ["/big/1", "/big/2", "/any/1?q", "/else"]
    assert [is_told(advertised, SITE + path, 0.0) for path in told] == [False] * 4, "no row names this proxy"
    advertised.set_floors((Floor("/any/", 0), Floor("/big/", 1000)))
    assert [is_told(advertised, SITE + path, 0.0) for path in told] == [True, False, True, False]
    advertised.set(SITE + "/big/2", [entry("x", 999), entry("x", 1000)])
    assert is_told(advertised, SITE + "/big/2", 0.0), "one of its variants"
    assert advertised.until(SITE + "/big/2") == 1e9
    assert advertised.until(SITE + "/else") == advertised.until(SITE + "/nothing") == -inf


def test_what_is_stale_is_not_told_any_more_when_its_page_is_in_its_turn() -> None:
    advertised, table = following(), StoredTable()
    advertised.set("/a", [entry("/a", until=100)])
    tell(advertised, table, 99.9)
    assert table.look_up(PROXY, "/a", 99.9) is Is.STORED
    for turn in range(PAGES // 2 + 1):
        tell(advertised, table, 100.0 + turn * EVERY)
    assert table.look_up(PROXY, "/a", 140.0) is Is.ABSENT
    advertised.set("/a", [entry("/a", until=300)])
    tell(advertised, table, 141.0)
    assert table.look_up(PROXY, "/a", 141.0) is Is.STORED


def test_new_rows_are_told_with_all_pages_and_many_are_taken_together() -> None:
    rows = [TransferRow("shop", ("c-1",), path="/big/", least=7), TransferRow("shop", ("c-2",), least=1)]
    assert floors_of(rows, "c-1") == (Floor("/big/", 7),)
    rows += [TransferRow("shop", ("c-1",), path=f"/{number}", least=5 + number) for number in range(MOST_FLOORS)]
    assert floors_of(rows, "c-1") == (Floor("", 5),)
    advertised = following()
    while len(advertised.next(0.0)) > 1:
        pass
    assert sum(len(message.pages) for message in advertised.next(0.0)) == 2
    advertised.set_floors(floors_of(rows, "c-1"))
    assert sum(len(message.pages) for message in advertised.next(0.0)) == PAGES
