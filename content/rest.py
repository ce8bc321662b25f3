"""The rest of an answer that was begun: what is told of it beforehand, and how another worker gets it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from content.answer import Stored
from content.carry import Answering, Source
from content.growing import Broken
from content.message import Head, Request, field, without
from content.ranges import Span
from content.shape import shape
from content.words import MOST_BEGIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from content.answer import Answer, Body
    from content.wire import Piped, Wire

_CONTENT_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_CONDITIONS = (b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
_CLOSES = b"\r\nconnection: close\r\n"


def tell(
    wire: Wire | Piped, request: int, begin: bytes, answer: Answer | None = None, span: Span | None = None
) -> None:
    """Say that ``begin`` is going to be sent, as the answer to so many bytes that came, and behind it the ``span`` of
    the answer's body; without an ``answer`` nothing."""
    head = begin[: begin.find(b"\r\n\r\n") + 2].lower()
    told = Answering(wire.read, request, wire.written, begin, last=_CLOSES in head)
    if len(begin) > MOST_BEGIN:
        wire.tell(replace(told, begin=b"", source=Source.UNKNOWN))
    elif answer is None:
        wire.tell(told)
    elif span is not None and isinstance(answer.body, Stored):
        place = replace(_of_origin(told, answer, span), source=Source.FILE, offset=span.begin, length=span.length)
        wire.tell(place, answer.body.descriptor)
    else:
        wire.tell(_of_origin(told, answer, span))


def asking(request: Request, answering: Answering) -> Request:
    """For the rest alone, if it is still the same."""
    last = answering.offset + answering.length - 1
    told = (b"range", b"bytes=%d-%d" % (answering.offset, last)), (b"if-range", answering.etag)
    return replace(request, headers=without(request.headers, *_CONDITIONS) + told)


async def send_rest(
    request: Request, answering: Answering, answer: Answer, send: Callable[[bytes], Awaitable[None]]
) -> None:
    """``request`` is the one made by ``asking``. ``Broken`` when the answer is another one, or has less."""
    head, span = shape(request, answer.head, answer.body.length, answer.body.whole)
    place = None if span is None else _place(head, answer.body, span)
    if (
        head.status not in (200, 206)
        or place is None
        or field(head.headers, b"etag") != answering.etag
        or place[1] != answering.total
    ):
        raise Broken("it is another one now")
    part, _ = place
    if part.begin > answering.offset or part.end < answering.offset + answering.length:
        raise Broken("it is another part")
    body, skip, left = answer.body, answering.offset - part.begin, answering.length
    if span is not None and span.begin:
        await body.skip(span.begin)
    while left:
        data = await body.read(1 << 16)
        if not data:
            raise Broken("shorter than it was said to be")
        wanted = data[skip : skip + left]
        skip -= min(skip, len(data))
        left -= len(wanted)
        if wanted:
            await send(wanted)


def _of_origin(told: Answering, answer: Answer, span: Span | None) -> Answering:
    etag = field(answer.head.headers, b"etag")
    place = None if span is None else _place(answer.head, answer.body, span)
    if etag is None or not etag.startswith(b'"') or place is None:
        return replace(told, source=Source.UNKNOWN)
    part, total = place
    return replace(
        told, source=Source.ORIGIN, offset=part.begin, length=part.length, total=total, etag=etag
    )  # fmt: skip


def _place(head: Head, body: Body, span: Span) -> tuple[Span, int] | None:
    """Which part of the whole body is sent, and how long the whole is. None when that is not known."""
    if body.whole and body.length is not None:
        return span, body.length
    if head.status == 200:
        return span, span.length
    matched = _CONTENT_RANGE.fullmatch(field(head.headers, b"content-range") or b"")
    if head.status != 206 or matched is None:
        return None
    first, last, total = (int(text) for text in matched.groups())
    whole = Span(first, last + 1)
    return (whole, total) if whole.length == span.length else None
