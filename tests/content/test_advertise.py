"""What gateways learn of a store, over a network that loses and reorders."""

from __future__ import annotations

from random import Random

import pytest

from braid.stored import PAGES, StoredPages, decode, encode, place
from content.advertise import EVERY, MOST_CHANGED, Advertised
from gateway.transfer.stored import COLD, GOOD_FOR, Is, StoredTable

PROXY = 51
TURNS = 6 * PAGES
"""Every page is in its turn often enough to arrive at 30 % loss."""


def tell(advertised: Advertised, table: StoredTable, now: float, loss: float = 0.0, rng: Random | None = None) -> None:
    heard = [decode(encode(message)) for message in advertised.next()]
    if rng is not None:
        rng.shuffle(heard)
    for message in heard:
        assert isinstance(message, StoredPages)
        if rng is None or rng.random() >= loss:
            table.receive(PROXY, message, now)


def test_nothing_is_known_before_it_is_told_and_all_at_once_of_a_small_store() -> None:
    advertised, table = Advertised(), StoredTable()
    advertised.add(["/a", "/b"])
    assert table.look_up(PROXY, "/a", 0.0) is Is.UNKNOWN
    tell(advertised, table, 0.0)
    assert [table.look_up(PROXY, key, 0.0) for key in ("/a", "/b", "/c")] == [Is.STORED, Is.STORED, Is.ABSENT]
    assert table.look_up(PROXY + 1, "/a", 0.0) is Is.UNKNOWN
    advertised.remove("/a")
    tell(advertised, table, 1.0)
    assert table.look_up(PROXY, "/a", 1.0) is Is.ABSENT
    table.forget(PROXY)
    assert table.look_up(PROXY, "/b", 1.0) is Is.UNKNOWN


@pytest.mark.parametrize("count", [100, 20_000])
def test_what_was_lost_is_told_again(count: int) -> None:
    rng, advertised, table, now = Random(1), Advertised(2**32 - 50), StoredTable(), 0.0
    keys = [f"/{number}" for number in range(count)]
    advertised.add(keys)
    for _ in range(TURNS):
        tell(advertised, table, now, 0.3, rng)
        now += EVERY
    for key in keys[::2]:
        advertised.remove(key)
    for _ in range(TURNS):
        tell(advertised, table, now, 0.3, rng)
        now += EVERY
    assert all(table.look_up(PROXY, key, now) is Is.STORED for key in keys[1::2])
    wrong = sum(table.look_up(PROXY, key, now) is Is.STORED for key in keys[::2])
    assert wrong <= count * 0.02


def test_what_is_told_at_one_time_is_bounded() -> None:
    advertised = Advertised()
    advertised.add(f"/{number}" for number in range(100_000))
    sizes = [sum(len(encode(message)) for message in advertised.next()) for _ in range(40)]
    assert max(sizes) < MOST_CHANGED + 4000
    assert sum(sizes[:16]) > 100_000, "all within some seconds"
    assert sizes[-1] < 2500, "then each in its turn"


def test_an_earlier_message_changes_nothing() -> None:
    advertised, table = Advertised(), StoredTable()
    early = advertised.next()
    advertised.add(["/a"])
    tell(advertised, table, 0.0)
    for message in early:
        table.receive(PROXY, message, 0.1)
    assert table.look_up(PROXY, "/a", 0.1) is Is.STORED


def test_a_proxy_that_says_nothing_is_not_believed_for_long() -> None:
    advertised, table = Advertised(), StoredTable()
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


def test_a_new_listener_is_told_all() -> None:
    advertised, table, late = Advertised(), StoredTable(), StoredTable()
    advertised.add(["/a"])
    tell(advertised, table, 0.0)
    tell(advertised, late, 0.0)
    page, _ = place("/a")
    assert page > 3, "not among those that were in turn"
    assert late.look_up(PROXY, "/a", 0.0) is Is.UNKNOWN
    advertised.tell_all()
    tell(advertised, late, 0.0)
    assert late.look_up(PROXY, "/a", 0.0) is Is.STORED
