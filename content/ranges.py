"""Byte ranges (RFC 9110 14). Pure.

One range is served as 206. Several are served as one when they touch, else the whole is sent, which a server may always
do: `multipart/byteranges` is not made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from content.conditions import strong_match
from content.message import field, read_date

if TYPE_CHECKING:
    from content.message import Head, Request

MOST_RANGES = 32
"""In one request; more are ignored, as an attack on memory."""
_RANGE = re.compile(rb"([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``begin`` to ``end``, that one not included."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.begin


class Unsatisfiable(Exception):
    """None of the ranges is in the body: 416."""


def starts_within(request: Request, limit: int) -> bool:
    """Whether what is asked for begins in the first ``limit`` bytes; true without a range, false from the end."""
    parts = _parts(field(request.headers, b"range"))
    return all(first is not None and first <= limit for first, _ in parts)


def span_of(request: Request, head: Head, length: int) -> Span | None:
    """The part of a body of ``length`` bytes that is asked for; None is all of it. ``Unsatisfiable``."""
    if request.method != b"GET" or head.status != 200 or not _if_range(request, head):
        return None
    parts = _parts(field(request.headers, b"range"))
    if not parts:
        return None
    spans = [span for first, last in parts if (span := _span(first, last, length)) is not None]
    if not spans:
        raise Unsatisfiable
    return _joined(spans)


def content_range(span: Span | None, length: int) -> bytes:
    if span is None:
        return b"bytes */%d" % length
    return b"bytes %d-%d/%d" % (span.begin, span.end - 1, length)


def _parts(value: bytes | None) -> list[tuple[int | None, int | None]]:
    """First and last byte of each range; nothing when any is malformed: the field is ignored then (RFC 9110 14.2)."""
    unit, separator, listed = (value or b"").partition(b"=")
    if not separator or unit.strip().lower() != b"bytes":
        return []
    parts: list[tuple[int | None, int | None]] = []
    for member in listed.split(b",", MOST_RANGES):
        matched = _RANGE.fullmatch(member.strip(b" \t"))
        if matched is None or not (matched[1] or matched[2]):
            return []
        first, last = (int(text) if text else None for text in matched.groups())
        if first is not None and last is not None and last < first:
            return []
        parts.append((first, last))
    return parts if len(parts) <= MOST_RANGES else []


def _span(first: int | None, last: int | None, length: int) -> Span | None:
    if first is None:
        begin, end = max(0, length - (last or 0)), length
    else:
        begin, end = first, length if last is None else min(last + 1, length)
    return Span(begin, end) if begin < end else None


def _joined(spans: list[Span]) -> Span | None:
    ordered = sorted(spans, key=lambda span: span.begin)
    whole = ordered[0]
    for span in ordered[1:]:
        if span.begin > whole.end:
            return None
        whole = Span(whole.begin, max(whole.end, span.end))
    return whole


def _if_range(request: Request, head: Head) -> bool:
    condition = field(request.headers, b"if-range")
    if condition is None:
        return True
    if condition.endswith(b'"'):
        etag = field(head.headers, b"etag")
        return etag is not None and strong_match(condition, etag)
    date = read_date(condition)
    return date is not None and date == read_date(field(head.headers, b"last-modified"))
