"""The first answer of a transferred connection, made while its socket may not emit yet.

It is what a worker tells before any answer (``content.carry``), and the bytes that leave in the turn in which the
socket may. Whoever sends the rest goes on as after a worker's death: behind what the kernel has taken.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.process import give_way
from content.answer import Stored
from content.carry import Answering, GoesOn, Source, carry_on
from content.message import field
from content.shape import answer_head
from content.words import MOST_BEGIN

if TYPE_CHECKING:
    import socket

    from content.answer import Answer
    from content.message import Head, Request
    from content.wire import Keeping

FIRST = 65_536
"""Bytes that leave at once, or as many of them as the socket takes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    answering: Answering
    descriptor: int
    """The body's file, or -1: closed with this, or whoever sends the rest closes it."""
    first: bytes

    def tell(self, keeping: Keeping) -> None:
        keeping.told(self.answering, self.descriptor if self.descriptor >= 0 else None)

    def send(self, thawed: socket.socket) -> tuple[int, Answering]:
        """Bytes that are on their way, and what is left to do of the answer."""
        try:
            sent = thawed.send(self.first)
        except OSError:
            # Whoever sends the rest meets the same.
            sent = 0
        give_way()
        rest = carry_on(self.answering, 0, sent)
        assert isinstance(rest, GoesOn)
        assert rest.answering is not None
        return sent, rest.answering

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def prepare(asked: Request, length: int, answer: Answer, name: str, *, closes: bool) -> Prepared | None:
    """Takes over the answer's descriptor. ``length``: bytes of the request. None, and the answer is closed, where the
    connection has to be served without this."""
    head, span = answer_head(asked, answer, name)
    begin = _encode(head, closes=closes)
    body = answer.body
    if not isinstance(body, Stored) or span is None or len(begin) > MOST_BEGIN:
        body.close()
        return None
    if asked.method == b"HEAD" or span.length == 0:
        body.close()
        return Prepared(Answering(request=length, begin=begin, last=closes), -1, begin)
    data = os.pread(body.descriptor, min(span.length, FIRST), span.begin)
    told = Answering(
        request=length, begin=begin, source=Source.FILE, offset=span.begin, length=span.length,
        total=body.length or 0, etag=field(answer.head.headers, b"etag") or b"", last=closes,
    )  # fmt: skip
    return Prepared(told, body.descriptor, begin + data)


def _encode(head: Head, *, closes: bool) -> bytes:
    """As h11 writes it. What is stored came by h11, so no field has a line's end in it."""
    lines = [b"HTTP/1.1 %d %s" % (head.status, head.reason)]
    lines += [b"%s: %s" % field for field in head.headers]
    lines += [b"connection: close"] if closes else []
    return b"\r\n".join(lines) + b"\r\n\r\n"
