from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.message import Head, Request
from content.ranges import Span, Unsatisfiable, content_range, span_of, starts_within
from content.shape import NOTHING, shape

BODY = bytes(range(100))
HEAD = Head(
    200,
    ((b"etag", b'"1"'), (b"last-modified", b"Tue, 14 Nov 2023 22:13:20 GMT"), (b"content-type", b"text/plain")),
    b"OK",
)


def asking(range_: str, **more: str) -> Request:
    headers = [
        (b"range", range_.encode()),
        *((name.replace("_", "-").encode(), v.encode()) for name, v in more.items()),
    ]
    return Request(b"GET", "h", 80, b"/", tuple(headers))


@pytest.mark.parametrize(
    ("range_", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-", Span(10, 100)),
        ("bytes=90-1000", Span(90, 100)),
        ("bytes=-5", Span(95, 100)),
        ("bytes=-500", Span(0, 100)),
        ("Bytes = 1-2", Span(1, 3)),
        ("bytes=0-9,10-19", Span(0, 20)),
        ("bytes=5-9, 0-6", Span(0, 10)),
        ("bytes=0-1,200-300", Span(0, 2)),
        ("bytes=0-1,50-51", None),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("lines=0-1", None),
        ("bytes", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(40)), None),
    ],
)
def test_ranges(range_: str, span: Span | None) -> None:
    assert span_of(asking(range_), HEAD, 100) == span


@pytest.mark.parametrize("range_", ["bytes=100-", "bytes=-0", "bytes=200-300,100-101"])
def test_what_is_not_there(range_: str) -> None:
    with pytest.raises(Unsatisfiable):
        span_of(asking(range_), HEAD, 100)
    head, span = shape(asking(range_), HEAD, 100, True)
    assert (head.status, span) == (416, NOTHING)
    assert dict(head.headers) == {b"content-range": b"bytes */100", b"content-length": b"0"}


@pytest.mark.parametrize(
    ("condition", "partial"),
    [
        ('"1"', True),
        ('"2"', False),
        ('W/"1"', False),
        ("Tue, 14 Nov 2023 22:13:20 GMT", True),
        ("Tue, 14 Nov 2023 22:13:21 GMT", False),
        ("nonsense", False),
    ],
)
def test_if_range(condition: str, partial: bool) -> None:
    assert (span_of(asking("bytes=0-1", if_range=condition), HEAD, 100) is not None) is partial


@given(st.text("0123456789-, bytes=", max_size=40), st.integers(0, 120))
def test_a_span_is_always_inside(range_: str, length: int) -> None:
    request = asking(f"bytes={range_}")
    try:
        span = span_of(request, HEAD, length)
    except Unsatisfiable:
        return
    if span is not None:
        assert 0 <= span.begin < span.end <= length
        assert content_range(span, length) == b"bytes %d-%d/%d" % (span.begin, span.end - 1, length)


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=8), st.integers(1, 120))
def test_what_is_sent_holds_every_byte_that_was_asked_for(parts: list[tuple[int, int]], length: int) -> None:
    asked = [(min(pair), max(pair)) for pair in parts]
    wanted = {byte for first, last in asked for byte in range(first, min(last + 1, length))}
    request = asking("bytes=" + ",".join(f"{first}-{last}" for first, last in asked))
    try:
        span = span_of(request, HEAD, length)
    except Unsatisfiable:
        assert not wanted
        return
    sent = set(range(length)) if span is None else set(range(span.begin, span.end))
    assert wanted <= sent
    if span is not None:
        assert wanted == sent


def test_where_a_range_begins() -> None:
    assert starts_within(asking("bytes=5-"), 5)
    assert not starts_within(asking("bytes=6-"), 5)
    assert not starts_within(asking("bytes=-1"), 5)
    assert starts_within(Request(b"GET", "h", 80, b"/"), 5)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"if_none_match": '"1"'}, 304),
        ({"if_none_match": 'W/"1", "2"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"2"', "if_modified_since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 206),
        ({"if_modified_since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304),
        ({"if_modified_since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 206),
        ({"if_modified_since": "yesterday"}, 206),
    ],
)
def test_conditions_come_before_ranges(condition: dict[str, str], status: int) -> None:
    head, span = shape(asking("bytes=0-1", **condition), HEAD, 100, True)
    assert head.status == status
    assert (span == NOTHING) is (status == 304)
    if status == 304:
        assert (b"content-type", b"text/plain") not in head.headers
        assert (b"etag", b'"1"') in head.headers


def test_a_body_of_unknown_length_is_sent_whole() -> None:
    assert shape(asking("bytes=0-1"), HEAD, None, False) == (HEAD, None)
    assert shape(None, HEAD, 7, False)[1] == Span(0, 7)
