"""What is kept and what it is good for, by the words of RFC 9111 and RFC 5861."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.from_store import MOST_SECONDS, members
from content.directives import read_directives
from content.freshness import Times, current_age, lifetime
from content.message import Head, Headers, Request, field, read_date, write_date
from content.policy import (
    Use,
    conditional,
    confirms,
    freshened,
    good_on_error,
    good_until,
    invalidated,
    judge,
    looked_up,
    may_join,
    reason_not_to_store,
    selected,
    selecting,
    vary_names,
)

NOW = 1_700_000_000.0
DATE = write_date(NOW)
LONG_AGO = write_date(NOW - 86_400 * 365)


def fields(**values: str | bytes) -> Headers:
    return tuple(
        (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in values.items()
    )


def get(**values: str | bytes) -> Request:
    return Request(b"GET", "shop.apps.example", 80, b"/a", fields(**values))


def head(status: int = 200, **values: str | bytes) -> Head:
    return Head(status, fields(**({"date": DATE} | values)))


@pytest.mark.parametrize(
    ("request_", "answer", "reason"),
    [
        (get(), head(cache_control="max-age=60"), ""),
        (get(), head(cache_control="max-age=60", vary="accept-encoding"), ""),
        (get(), head(cache_control="no-store, max-age=60"), "no-store"),
        (get(cache_control="no-store"), head(cache_control="max-age=60"), "no-store"),
        (get(), head(cache_control="Private, max-age=60"), "private"),
        (get(), head(cache_control='private="set-cookie", max-age=60'), "private"),
        (get(authorization="Basic x"), head(cache_control="max-age=60"), "authorization"),
        (get(authorization="Basic x"), head(cache_control="max-age=60, public"), ""),
        (get(authorization="Basic x"), head(cache_control="s-maxage=60"), ""),
        (get(), head(cache_control="max-age=60", set_cookie="a=b"), "set-cookie"),
        (get(), head(cache_control="public, max-age=60", set_cookie="a=b"), ""),
        (get(), head(cache_control="max-age=60", vary="accept, *"), "vary"),
        (get(), head(), "unspecified"),
        (get(), head(last_modified=LONG_AGO), ""),
        (get(cookie="a=b"), head(last_modified=LONG_AGO), "cookie"),
        (get(cookie="a=b"), head(last_modified=LONG_AGO, cache_control="max-age=5"), ""),
        (get(), head(302, last_modified=LONG_AGO), "unspecified"),
        (get(), head(302, cache_control="max-age=5"), ""),
        (get(), head(404, cache_control="max-age=5"), ""),
        (get(), head(cache_control="max-age=0"), "stale"),
        (get(), head(cache_control="max-age=0", etag='"1"'), ""),
        (get(), head(expires="0"), "stale"),
        (get(), head(206, cache_control="max-age=60"), "partial"),
        (Request(b"HEAD", "h", 80, b"/"), head(cache_control="max-age=60"), "partial"),
    ],
)
def test_what_may_be_stored(request_: Request, answer: Head, reason: str) -> None:
    assert reason_not_to_store(request_, answer) == reason


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({"cache_control": "max-age=60"}, 60),
        ({"cache_control": "max-age=60, s-maxage=5"}, 5),
        ({"cache_control": "max-age=60", "expires": LONG_AGO}, 60),
        ({"cache_control": 'max-age="60"'}, 60),
        ({"cache_control": "max-age=60, max-age=60"}, 60),
        ({"cache_control": "max-age=60, max-age=61"}, 0),
        ({"cache_control": "max-age=soon"}, 0),
        ({"cache_control": "max-age=99999999999999999999"}, MOST_SECONDS),
        ({"expires": write_date(NOW + 30)}, 30),
        ({"expires": "0"}, 0),
        ({"last_modified": write_date(NOW - 1000)}, 100),
        ({"last_modified": LONG_AGO}, 3600),
        ({}, 0),
    ],
)
def test_lifetime(values: dict[str, str | bytes], seconds: float) -> None:
    assert lifetime(head(**values)) == seconds


def test_age_counts_other_caches_and_the_way() -> None:
    times = Times(NOW, NOW + 2)
    assert current_age(head(), times, NOW + 10) == 10
    assert current_age(head(age="100"), times, NOW + 10) == 110
    assert current_age(head(date=write_date(NOW - 50)), times, NOW + 10) == 60
    assert current_age(head(age="-1"), times, NOW - 3) == 2
    assert current_age(head(age="-1"), times, NOW - 4) > 1e9, "of any age"


@pytest.mark.parametrize(
    ("request_", "cache_control", "after", "use"),
    [
        (get(), "max-age=60", 59, Use.FRESH),
        (get(), "max-age=60", 61, Use.VALIDATE),
        (get(), "max-age=60, no-cache", 1, Use.VALIDATE),
        (get(cache_control="no-cache"), "max-age=60", 1, Use.VALIDATE),
        (get(pragma="no-cache"), "max-age=60", 1, Use.VALIDATE),
        (get(pragma="no-cache", cache_control="x"), "max-age=60", 1, Use.FRESH),
        (get(cache_control="max-age=10"), "max-age=60", 11, Use.VALIDATE),
        (get(cache_control="min-fresh=10"), "max-age=60", 55, Use.VALIDATE),
        (get(cache_control="max-stale=10"), "max-age=60", 65, Use.STALE),
        (get(cache_control="max-stale=10"), "max-age=60, must-revalidate", 65, Use.VALIDATE),
        (get(cache_control="max-stale"), "max-age=60", 10_000, Use.STALE),
        (get(cache_control="max-stale=0"), "max-age=60", 61, Use.VALIDATE),
        (get(cache_control="max-stale=x"), "max-age=60", 61, Use.VALIDATE),
        (get(cache_control="max-age=90"), "max-age=60, stale-while-revalidate=30", 80, Use.VALIDATE),
        (get(cache_control="max-age=90, max-stale=30"), "max-age=60, stale-while-revalidate=30", 80, Use.STALE),
        (get(), "max-age=60, stale-while-revalidate=30", 80, Use.STALE),
        (get(), "max-age=60, stale-while-revalidate=30", 91, Use.VALIDATE),
        (get(), "s-maxage=60, stale-while-revalidate=30", 80, Use.VALIDATE),
        (get(authorization="x"), "max-age=60", 1, Use.VALIDATE),
        (get(authorization="x"), "max-age=60, public", 1, Use.FRESH),
    ],
)
def test_what_a_stored_answer_is_good_for(request_: Request, cache_control: str, after: float, use: Use) -> None:
    assert judge(request_, head(cache_control=cache_control), Times(NOW, NOW), NOW + after) is use


@pytest.mark.parametrize(
    ("cache_control", "after", "good"),
    [
        ("max-age=60, stale-if-error=100", 150, True),
        ("max-age=60, stale-if-error=100", 161, False),
        ("max-age=60, stale-if-error=100, must-revalidate", 150, False),
        ("max-age=60", 61, False),
    ],
)
def test_stale_when_the_origin_fails(cache_control: str, after: float, good: bool) -> None:
    stored = head(cache_control=cache_control)
    assert good_on_error(get(), stored, Times(NOW, NOW), NOW + after) is good
    assert not good_on_error(get(cache_control="no-cache"), stored, Times(NOW, NOW), NOW + after)


def test_vary_selects() -> None:
    answer = head(vary="Accept-Encoding, accept-language")
    names = vary_names(answer)
    assert names == [b"accept-encoding", b"accept-language"]
    stored = selecting(get(accept_encoding="gzip,  br"), names)
    assert selected(get(accept_encoding="gzip,br"), stored)
    assert not selected(get(accept_encoding="br"), stored)
    assert not selected(get(accept_encoding="gzip, br", accept_language="de"), stored)


def test_only_the_origin_judges_some_conditions() -> None:
    assert looked_up(get(if_none_match='"1"'))
    assert not looked_up(get(if_match='"1"'))
    assert not looked_up(Request(b"POST", "h", 80, b"/"))


def test_a_stored_answer_is_validated_by_its_own_validators() -> None:
    asked = get(if_none_match='"client"', range="bytes=0-1", accept="x")
    plain = conditional(asked, None)
    assert plain.headers == fields(accept="x")
    again = conditional(asked, head(etag='"1"', last_modified=LONG_AGO))
    assert again.headers == fields(accept="x", if_none_match='"1"', if_modified_since=LONG_AGO)


def test_a_confirmed_answer_takes_over_the_newer_fields() -> None:
    stored = head(etag='"1"', age="5", content_type="text/plain", cache_control="max-age=1")
    newer = freshened(stored, head(304, date=LONG_AGO, cache_control="max-age=9", content_length="0"))
    assert dict(newer.headers) == dict(
        fields(etag='"1"', content_type="text/plain", date=LONG_AGO, cache_control="max-age=9")
    )
    assert newer.status == 200


@pytest.mark.parametrize(
    ("own", "told", "confirmed"),
    [
        ('"1"', None, True),
        ('"1"', '"1"', True),
        ('W/"1"', '"1"', True),
        ('"1"', '"2"', False),
        (None, '"1"', False),
        (None, None, True),
    ],
)
def test_a_304_is_about_what_it_names(own: str | None, told: str | None, confirmed: bool) -> None:
    stored = head(etag=own) if own else head()
    answer = head(304, etag=told) if told else head(304)
    assert confirms(stored, answer) is confirmed
    if confirmed:
        assert field(freshened(stored, answer).headers, b"etag") == field(stored.headers, b"etag")


@pytest.mark.parametrize(
    ("request_", "cache_control", "after", "together", "joins"),
    [
        (get(), "max-age=60", 0, True, True),
        (get(), "max-age=0", 0, True, True),
        (get(), "max-age=0", 0, False, False),
        (get(), "max-age=60", 59, False, True),
        (get(cache_control="max-age=0"), "max-age=60", 1, False, False),
        (get(), "no-cache", 0, True, False),
    ],
)
def test_who_joins_an_answer_that_comes_to_another(
    request_: Request, cache_control: str, after: float, together: bool, joins: bool
) -> None:
    answer = head(cache_control=cache_control)
    assert may_join(request_, answer, Times(NOW, NOW), NOW + after, together=together) is joins


@pytest.mark.parametrize(
    ("location", "also"),
    [
        ("/b", {"http://shop.apps.example/b"}),
        ("http://shop.apps.example/b?x#y", {"http://shop.apps.example/b?x"}),
        ("http://shop.apps.example", {"http://shop.apps.example/"}),
        ("http://shop.apps.example.evil/b", set()),
        ("//other.example/b", set()),
        ("https://shop.apps.example/b", set()),
    ],
)
def test_an_unsafe_request_invalidates(location: str, also: set[str]) -> None:
    post = Request(b"POST", "shop.apps.example", 80, b"/a")
    assert invalidated(post, head(201, location=location)) == {"http://shop.apps.example/a"} | also
    assert invalidated(post, head(500, location=location)) == set()
    assert invalidated(get(), head()) == set()


def test_lists_are_split_outside_of_quotes() -> None:
    assert members(b'a, "b,c" ,, d="e\\",f"') == [b"a", b'"b,c"', b'd="e\\",f"']
    assert members(b'"a\\", "b"', escapes=False) == [b'"a\\"', b'"b"']


@given(st.binary(max_size=300))
def test_whatever_is_written_there_nothing_raises(value: bytes) -> None:
    headers = tuple((name, value) for name in (b"cache-control", b"expires", b"date", b"vary", b"age", b"etag", b"via"))
    request, answer = Request(b"GET", "h", 80, b"/", headers), Head(200, headers)
    assert 0 <= lifetime(answer) <= 1e12
    assert current_age(answer, Times(NOW, NOW), NOW) >= 0
    reason_not_to_store(request, answer)
    judge(request, answer, Times(NOW, NOW), NOW)
    assert selected(request, selecting(request, vary_names(answer)))
    read_directives(headers).seconds("max-age")


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles"])
def test_dates_in_the_forms_that_are_to_be_read(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        forms = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")
        # What this process has read in another zone is remembered.
        assert {read_date.__wrapped__(form.encode()) for form in forms} == {784111777.0}
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(0, 253402300799))
def test_dates_are_read_as_they_are_written(seconds: int) -> None:
    assert read_date(write_date(seconds)) == seconds
    assert field(((b"a", b"1"), (b"b", b"2"), (b"a", b"3")), b"a") == b"1, 3"


@given(
    words=st.lists(
        st.sampled_from(
            [
                "no-cache",
                "must-revalidate",
                "s-maxage=20",
                "max-age=30",
                "stale-while-revalidate=15",
                "public",
                "max-age=0",
            ]
        ),
        max_size=4,
    ),
    age=st.sampled_from([None, "0", "7", "40"]),
    changed=st.sampled_from([None, LONG_AGO, write_date(NOW - 100)]),
    took=st.sampled_from([0.0, 2.5]),
    after=st.floats(-5, 4000),
)
def test_until_when_an_answer_is_good_is_what_each_request_is_judged_by(
    words: list[str], age: str | None, changed: str | bytes | None, took: float, after: float
) -> None:
    more = {"age": age, "last_modified": changed, "cache_control": ", ".join(words) or None}
    answer = head(**{name: value for name, value in more.items() if value is not None})
    times = Times(NOW - took, NOW)
    good = judge(get(), answer, times, NOW + after) is not Use.VALIDATE
    until = good_until(answer, times)
    assert good == (NOW + after < until) or abs(NOW + after - until) < 1e-6
