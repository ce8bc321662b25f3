"""How a client's connection goes on when the worker that served it has died. Pure.

Before an answer's first byte the worker says what it will send. The request stays in the kernel until the answer is
complete. So what the kernel counts of a connection, bytes read and bytes written, says exactly how far it came::

    read  written        the answer             goes on
    ----  -------        ----------             -------
    0     some, or none  is under way           with the next byte of it
    0     all            is complete            behind the request, which is read and forgotten
    all   all            is done with           with the next request

What cannot be continued is reset, so that the client does not take a part for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Source(Enum):
    """Where the rest of a body comes from, behind what the ``Answering`` carries itself."""

    NOTHING = "nothing"
    """There is no more."""
    FILE = "file"
    """A file; its descriptor comes along."""
    ORIGIN = "origin"
    """The origin, for the rest alone: by a strong validator it is the same."""
    UNKNOWN = "unknown"
    """It has no validator, or its framing hides how far it has come."""
    ONCE = "once"
    """The request must not be made twice, or was read before its answer was complete."""
    BACK = "back"
    """None: the connection is frozen, and being given back to its gateway."""


@dataclass(frozen=True, slots=True)
class Answering:
    """What one worker sends. ``read`` and ``written`` count from the connection's coming to that worker."""

    read: int = 0
    """Before the request."""
    request: int = 0
    """Bytes of it."""
    written: int = 0
    """Before the answer."""
    begin: bytes = b""
    """The answer's head; of a short one all."""
    source: Source = Source.NOTHING
    offset: int = 0
    """Where in the whole body the rest begins."""
    length: int = 0
    """Bytes of the rest."""
    total: int = 0
    """Bytes of the whole body."""
    etag: bytes = b""
    last: bool = False
    """The connection ends behind it."""

    @property
    def can_go_on_alone(self) -> bool:
        """Without the store and origins."""
        return self.source in (Source.NOTHING, Source.FILE)


@dataclass(frozen=True, slots=True)
class GoesOn:
    """``answering`` is what is left of it, counted anew; None: a request is to be read."""

    answering: Answering | None


@dataclass(frozen=True, slots=True)
class Reset:
    why: str
    """A word: ``unsafe``, ``unknown``, ``mismatch``."""


@dataclass(frozen=True, slots=True)
class Dissolve:
    """Nobody is to hear of it: its gateway has it, or resets it."""


Outcome = GoesOn | Reset | Dissolve


def carry_on(answering: Answering | None, read: int, written: int) -> Outcome:
    """``read`` and ``written`` by the worker that died, all together."""
    if answering is None:
        return GoesOn(None)
    read, written = read - answering.read, written - answering.written
    match answering.source:
        case Source.BACK:
            return Dissolve()
        case Source.ONCE:
            return Reset("unsafe")
        case _ if not (0 <= read <= answering.request and written >= 0):
            return Reset("mismatch")
        case Source.UNKNOWN:
            return GoesOn(None) if read == written == 0 else Reset("unknown")
        case _:
            return _rest(answering, read, written)


def _rest(answering: Answering, read: int, written: int) -> Outcome:
    body = written - len(answering.begin)
    if body > answering.length:
        return Reset("mismatch")
    if body == answering.length:
        if read == answering.request and not answering.last:
            return GoesOn(None)
        nothing = Answering(request=answering.request - read, last=answering.last)
        return GoesOn(nothing)
    if read:
        return Reset("mismatch")
    sent = max(0, body)
    return GoesOn(
        replace(
            answering, read=0, written=0, begin=answering.begin[written:],
            offset=answering.offset + sent, length=answering.length - sent,
        )
    )  # fmt: skip
