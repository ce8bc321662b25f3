"""Rust judges what a stored answer is good for: as gateways judge requests, and as RFC 9111 says."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from braid.from_store import Directives, may_answer, members
from content.freshness import Times, current_age, lifetime
from content.message import Head, Request, field
from content.policy import Use, as_answer, judge, selecting

NOW = 2000.0
VECTORS = Path(__file__).parent.parent / "vectors" / "stored.txt"

numbers = st.sampled_from([b"", b"0", b"1", b"59", b"60", b"61", b"x", b"-1", b"99999999999", b'"60"', b" 60 "])
names = st.sampled_from(
    [
        b"max-age",
        b"min-fresh",
        b"max-stale",
        b"no-cache",
        b"no-store",
        b"Max-Age",
        b"\tmax-stale ",
        b'x="a,b"',
        b'"',
        b"\\",
    ]
)
directive = st.builds(lambda name, number: name + (b"=" + number if number else b""), names, numbers)
asked_values = st.lists(directive, max_size=4).map(b",".join)
answer_directive = st.sampled_from(
    b"max-age=60|max-age=0|s-maxage=60|public|no-cache|must-revalidate|stale-while-revalidate=30".split(b"|")
)
fields = st.lists(
    st.tuples(st.sampled_from([b"cache-control", b"pragma", b"authorization", b"accept"]), asked_values), max_size=4
).map(tuple)


@given(
    fields,
    st.lists(answer_directive, max_size=3).map(b", ".join),
    st.floats(-10, 200) | st.sampled_from([0.0, 60.0, 90.0, 120.0]),
)
@example(((b"cache-control", b"max-stale, max-stale=1"),), b"max-age=60", 100.0)
@example(((b"cache-control", b"max-age=60"),), b"max-age=60, stale-while-revalidate=30", 70.0)
def test_it_judges_as_the_rfc_says(headers: tuple[tuple[bytes, bytes], ...], control: bytes, passed: float) -> None:
    request = Request(b"GET", "x", 80, b"/", headers)
    head, times = Head(200, ((b"cache-control", control), (b"age", b"1"))), Times(NOW - 1, NOW)
    found = judge(request, head, times, NOW + passed)
    assert found is _by_the_rfc(request, head, times, NOW + passed)
    if not may_answer(b"GET", lambda name: field(headers, name)):
        assert found is Use.VALIDATE, "gateways do not offer it"


def _by_the_rfc(request: Request, head: Head, times: Times, now: float) -> Use:
    asked = Directives(field(request.headers, b"cache-control"), field(request.headers, b"pragma"))
    answer = Directives(field(head.headers, b"cache-control"))
    shareable = answer.any_of("public", "must-revalidate", "s-maxage")
    age = current_age(head, times, now)
    left = lifetime(head) - age
    most_age, least_left = asked.seconds("max-age"), asked.seconds("min-fresh")
    if (
        (field(request.headers, b"authorization") is not None and not shareable)
        or asked.wants_new
        or "no-cache" in answer
        or (most_age is not None and age > most_age)
        or (least_left is not None and left < least_left)
    ):
        return Use.VALIDATE
    if left > 0:
        return Use.FRESH
    if answer.any_of("must-revalidate", "proxy-revalidate", "s-maxage"):
        return Use.VALIDATE
    behind, most_stale = answer.seconds("stale-while-revalidate"), asked.seconds("max-stale")
    may_stale = most_age is None and behind is not None and -left <= behind
    wants_stale = most_stale is not None and (asked.is_bare("max-stale") or -left <= most_stale)
    return Use.STALE if may_stale or wants_stale else Use.VALIDATE


@given(st.lists(st.tuples(st.sampled_from([b"accept", b"x"]), st.binary(max_size=12)), max_size=4).map(tuple))
def test_what_selects_is_written_as_lists_are_read(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    request = Request(b"GET", "x", 80, b"/", headers)
    ((name, value),) = selecting(request, [b"accept"])
    assert (name, value) == (b"accept", b",".join(members(field(headers, b"accept") or b"")))


def test_an_answer_has_the_picture_that_the_data_thread_reads() -> None:
    line = next(line for line in VECTORS.read_text().splitlines() if line.startswith("answer: "))
    control = b"max-age=60, must-revalidate, stale-while-revalidate=256"
    head = Head(200, ((b"cache-control", control), (b"age", b"2")))
    told = as_answer(head, Times(999.5, 1000.0), ((b"accept", b"a,b"),))
    assert told == bytes.fromhex(line.removeprefix("answer: "))
