"""From an answer to what one client gets of it: all, a part, or only that it has it already. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from content.conditions import as_not_modified, not_modified
from content.message import Head, Request, without
from content.ranges import Span, Unsatisfiable, content_range, span_of

if TYPE_CHECKING:
    from content.answer import Answer

NOTHING = Span(0, 0)


def shape(request: Request | None, head: Head, length: int | None, parts: bool) -> tuple[Head, Span | None]:
    """The head, and the part of the body; None is all of a body of unknown length. ``parts`` says whether the body can
    be sent in part; without a ``request`` (one that could not be read) it is sent as it is."""
    bare = without(head.headers, b"content-length", b"transfer-encoding")
    if request is not None and request.method in (b"GET", b"HEAD") and not_modified(request, head):
        return as_not_modified(head), NOTHING
    if head.status in (204, 304):
        return Head(head.status, bare, head.reason), NOTHING
    if length is None:
        return Head(head.status, bare, head.reason), None
    try:
        span = span_of(request, head, length) if request is not None and parts else None
    except Unsatisfiable:
        told = ((b"content-range", content_range(None, length)), (b"content-length", b"0"))
        return Head(416, without(bare, b"etag", b"last-modified", b"content-type") + told), NOTHING
    if span is None:
        return Head(head.status, (*bare, _length(length)), head.reason), Span(0, length)
    return Head(206, (*bare, _length(span.length), (b"content-range", content_range(span, length)))), span


def answer_head(request: Request | None, answer: Answer, name: str) -> tuple[Head, Span | None]:
    """The same of an answer of the cache called ``name``, with what it says of itself."""
    head, span = shape(request, answer.head, answer.body.length, answer.body.whole)
    headers = head.headers
    if answer.age is not None:
        headers = (*without(headers, b"age"), (b"age", b"%d" % answer.age))
    told = (b"via", f"1.1 {name}".encode()), (b"cache-status", f"{name}; {answer.status}".encode())
    return Head(head.status, headers + told, head.reason), span


def _length(length: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % length)
