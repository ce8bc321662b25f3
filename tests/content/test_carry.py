"""What goes on after a worker's death, at any byte; a client must get the stream that one worker would have sent."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content.carry import Answering, Dissolve, GoesOn, Reset, Source, carry_on

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", random.Random(5).randbytes(50)
FILE = Answering(read=7, request=30, written=100, begin=HEAD, source=Source.FILE, offset=10, length=40, total=50)
WHOLE = HEAD + BODY[10:]


def test_a_request_of_which_nothing_was_told_is_asked_anew() -> None:
    assert carry_on(None, 7, 100) == GoesOn(None)
    assert carry_on(replace(FILE, source=Source.UNKNOWN), 7, 100) == GoesOn(None)


def test_an_answer_that_has_not_begun_begins() -> None:
    assert carry_on(FILE, 7, 100) == GoesOn(replace(FILE, read=0, written=0))


def test_a_head_is_continued() -> None:
    assert carry_on(FILE, 7, 105) == GoesOn(replace(FILE, read=0, written=0, begin=HEAD[5:]))


def test_a_body_is_continued() -> None:
    expected = Answering(request=30, begin=b"", source=Source.FILE, offset=13, length=37, total=50)
    assert carry_on(FILE, 7, 100 + len(HEAD) + 3) == GoesOn(expected)


def test_a_complete_answer_leaves_its_request_to_be_read() -> None:
    assert carry_on(FILE, 7, 100 + len(WHOLE)) == GoesOn(Answering(request=30))
    assert carry_on(FILE, 20, 100 + len(WHOLE)) == GoesOn(Answering(request=17))
    assert carry_on(FILE, 37, 100 + len(WHOLE)) == GoesOn(None)


def test_the_last_answer_of_a_connection_is_followed_by_its_end() -> None:
    last = replace(FILE, last=True)
    assert carry_on(last, 37, 100 + len(WHOLE)) == GoesOn(Answering(last=True))
    assert carry_on(last, 7, 100 + len(WHOLE)) == GoesOn(Answering(request=30, last=True))


@pytest.mark.parametrize(
    ("answering", "read", "written", "outcome"),
    [
        (replace(FILE, source=Source.UNKNOWN), 7, 101, Reset("unknown")),
        (replace(FILE, source=Source.ONCE), 7, 100, Reset("unsafe")),
        (replace(FILE, source=Source.BACK), 7, 100, Dissolve()),
        (FILE, 7, 101 + len(WHOLE), Reset("mismatch")),
        (FILE, 38, 100, Reset("mismatch")),
        (FILE, 37, 110, Reset("mismatch")),
        (FILE, 6, 100, Reset("mismatch")),
        (FILE, 7, 99, Reset("mismatch")),
    ],
)
def test_what_cannot_go_on(answering: Answering, read: int, written: int, outcome: Reset | Dissolve) -> None:
    assert carry_on(answering, read, written) == outcome


@given(st.lists(st.integers(0, 60), max_size=8), st.sampled_from([Source.FILE, Source.ORIGIN]), st.booleans())
def test_any_number_of_deaths_at_any_bytes_leave_the_stream_as_it_is(
    deaths: list[int], source: Source, last: bool
) -> None:
    begun: Answering | None = Answering(
        request=30, begin=HEAD, source=source, offset=10, length=40, total=50, last=last
    )  # fmt: skip
    stream, read = b"", 0
    for most in [*deaths, 1000]:
        assert begun is not None
        rest = begun.begin + BODY[begun.offset :][: begun.length]
        stream += rest[:most]
        done = begun.request if most > len(rest) else 0
        read += done
        outcome = carry_on(begun, done, len(rest[:most]))
        assert isinstance(outcome, GoesOn)
        begun = outcome.answering
        if begun in (None, Answering(last=True)):
            break
    assert begun == (Answering(last=True) if last else None)
    assert (stream, read) == (WHOLE, 30)
