"""How a connection goes on whose content proxy is gone: from where, and with what. Pure.

What the gateway knows is the record with which the connection left, the answer that the proxy said it was sending, and
what the edge saw pass. The client has everything before the number that it acknowledged; what comes behind it must be
the bytes that the proxy would have sent, as the client may have some of them already. So an answer goes on only if its
entity tag is strong and its length known; the rest is asked of the origin, which has to have the same. Where the edge
saw nothing pass to the client, the request is simply served.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import h11

from braid.tcp.record import Window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from braid.tcp.record import TcpRecord
    from braid.transfer_progress import Promised, Seen

_MODULUS = 1 << 32
MARGIN = 2000
"""Milliseconds by which the proxy's clock may have been ahead of the record's: it set it ahead, too."""
_RANGE = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_DROPPED = frozenset((
    b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Afresh:
    """It is served from its next request on, which may be one that ``record`` has."""

    record: TcpRecord


@dataclass(frozen=True, slots=True)
class Rest:
    record: TcpRecord
    begin: bytes
    """Of the answer, what the client has not got of what the proxy told itself."""
    offset: int
    length: int
    """The part of the body that follows; perhaps nothing."""
    total: int
    etag: bytes
    last: bool
    request: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """The client is reset. ``record`` says where it is."""

    record: TcpRecord
    why: str
    """A word: ``unknown``, ``changing``, ``request``, ``mismatch``."""


Way = Afresh | Rest | Reset


def way_on(left: TcpRecord, promised: Promised | None, seen: Seen | None, elapsed: float) -> Way:
    """``left``: the record with which it left; ``promised``: the proxy's last word; ``elapsed``: seconds since."""
    came = left.receive_next
    if seen is not None and not seen.spoken and seen.client in (None, left.send_next):
        return Afresh(_later(left, elapsed))
    acknowledged = left.send_next if seen is None or seen.client is None else seen.client
    received = came if seen is None or seen.proxy is None else seen.proxy
    record = _at(left, acknowledged, received, elapsed)
    if promised is None or seen is None or not seen.spoken:
        # An edge that has started again does not know what had passed before.
        return Reset(record, "unknown")
    if received != promised.request_end:
        # Of the next request, which only the proxy had read.
        return Reset(record, "request")
    got, begin = (acknowledged - promised.first) % _MODULUS, len(promised.begin)
    if got > begin + promised.length:
        return Reset(record, "mismatch")
    if got == begin + promised.length and not promised.last:
        return Afresh(record)
    sent = max(0, got - begin)
    if promised.length > sent and not promised.etag:
        return Reset(record, "changing")
    request = promised.request or left.unread
    return Rest(
        record, promised.begin[got:], promised.offset + sent, promised.length - sent, promised.total, promised.etag,
        promised.last, request,
    )  # fmt: skip


def ask_for(rest: Rest) -> h11.Request | None:
    """The client's request, for the rest alone, if it is still the same; None where that cannot be asked."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=len(rest.request) + 1)
    try:
        reader.receive_data(rest.request)
        asked = reader.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(asked, h11.Request) or asked.method != b"GET":
        return None
    kept = [(name, value) for name, value in asked.headers if name not in _DROPPED]
    last = rest.offset + rest.length - 1
    more = (b"range", b"bytes=%d-%d" % (rest.offset, last)), (b"if-range", rest.etag)
    return h11.Request(method=asked.method, target=asked.target, headers=[*kept, *more])


def skipped(rest: Rest, status: int, headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """How many bytes of the origin's answer come before the rest; None: it is another one."""
    fields = dict(headers)
    if fields.get(b"etag") != rest.etag:
        return None
    if status == 200:
        return rest.offset if fields.get(b"content-length") == b"%d" % rest.total else None
    matched = _RANGE.fullmatch(fields.get(b"content-range", b""))
    if status != 206 or matched is None:
        return None
    first, last, total = map(int, matched.groups())
    holds = first <= rest.offset and last + 1 >= rest.offset + rest.length and total == rest.total
    return rest.offset - first if holds else None


def _at(left: TcpRecord, acknowledged: int, received: int, elapsed: float) -> TcpRecord:
    window = left.window
    here = Window(received, window.send, window.most, window.receive, received)
    return _later(replace(left, send_next=acknowledged, receive_next=received, window=here, unread=b""), elapsed)


def _later(record: TcpRecord, elapsed: float) -> TcpRecord:
    return record.after(round(elapsed * 1000) + MARGIN)
