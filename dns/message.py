"""An answer as bytes: header, question as it came, packed records, our OPT record. RFC 1035 section 4, RFC 2308."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dns.zone import Reply, Zone

QR, AA, TC, RD = 0x8000, 0x0400, 0x0200, 0x0100

BEHIND_ID = struct.Struct("!5H")
"""Flags and counts of a header."""


def pack(ident: bytes, question: bytes, flags: int, reply: Reply, zone: Zone | None, opt: bytes, limit: int) -> bytes:
    """``zone`` is whose data it is, None when the answer is not authoritative; ``limit`` the bytes that fit, beyond
    which it is truncated."""
    body, authority = reply.answer, 0
    if zone is not None:
        flags |= AA
        if reply.negative:
            # The zone's name stands at the end of the question's: that is where negative answers point to.
            offset = 12 + len(question) - 4 - len(zone.apex)
            body += (0xC000 | offset).to_bytes(2, "big").join(zone.soa)
            authority = 1
    room = limit - 12 - len(question) - len(body) - len(opt)
    if room < 0:
        return truncated(ident, question, flags, opt)
    additional = 1 if opt else 0
    if reply.extras and len(reply.extra) <= room:
        body += reply.extra
        additional += reply.extras
    counts = BEHIND_ID.pack(flags, 1 if question else 0, reply.answers, authority, additional)
    return ident + counts + question + body + opt


def truncated(ident: bytes, question: bytes, flags: int, opt: bytes) -> bytes:
    """Nothing but "ask over TCP"."""
    return ident + BEHIND_ID.pack(flags | TC, bool(question), 0, 0, bool(opt)) + question + opt
