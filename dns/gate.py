"""The query gate: bytes from the network become a ``Query``, a ``Fault`` to be answered, or a ``Drop``.

It reads what an authoritative server needs and nothing more, in time linear in a small bound: one question without
compression, at most one OPT record, no other sections. Everything else is an error of the sender.
RFC 1035 section 4, RFC 6891, RFC 7873, RFC 8906, RFC 9619.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dns.options import BadOption, Edns, read_edns

MAX_QUERY = 4096
"""Bytes of a whole message; a question is at most 259, the rest is options."""

FORMERR, NOTIMP, REFUSED, BADVERS = 1, 4, 5, 16
TYPE_OPT, TYPE_IXFR, TYPE_AXFR = 41, 251, 252

_HEADER = struct.Struct("!6H")
_QUESTION_TAIL = struct.Struct("!HH")
_RECORD_TAIL = struct.Struct("!HHIH")
_RESPONSE = 0x8000
_RD = 0x0100
_DO = 0x8000


class Query(NamedTuple):
    id: int
    rd: bool
    question: bytes
    """As received, name with its letters' case, type and class: to be echoed. Empty for a query without a question
    that only fetches a DNS cookie (RFC 7873 section 5.4)."""
    name: bytes
    """Wire form with ASCII letters in lower case: to be looked up."""
    qtype: int
    qclass: int
    edns: Edns | None


class Fault(NamedTuple):
    """A query that gets an error for an answer."""

    id: int
    opcode: int
    rd: bool
    rcode: int
    """Extended: BADVERS is 16."""
    question: bytes
    """Empty when the question could not be read."""
    edns: Edns | None
    reason: str


class Drop(NamedTuple):
    """No answer at all: nobody asked, or the answer could be made to bounce."""

    reason: str


class _Broken(Exception):
    def __init__(self, reason: str, edns: Edns | None = None) -> None:
        self.reason = reason
        self.edns = edns


def read(data: bytes) -> Query | Fault | Drop:
    """Never raises, whatever the bytes are."""
    if len(data) < _HEADER.size:
        return Drop("short")
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        return Drop("response")
    opcode = flags >> 11 & 15
    if opcode != 0:
        return Fault(ident, opcode, False, NOTIMP, b"", None, "opcode")
    rd = bool(flags & _RD)
    question = b""
    try:
        if questions != 1 or len(data) > MAX_QUERY:
            if questions == 0 and not answers and not authorities and additionals == 1 and len(data) <= MAX_QUERY:
                return _read_cookie_query(ident, rd, data)
            raise _Broken("counts" if questions != 1 else "size")
        end = _name_end(data, _HEADER.size)
        if end + _QUESTION_TAIL.size > len(data):
            raise _Broken("question")
        name = data[_HEADER.size : end].lower()
        qtype, qclass = _QUESTION_TAIL.unpack_from(data, end)
        end += _QUESTION_TAIL.size
        question = data[_HEADER.size : end]
        if qtype == TYPE_IXFR and authorities == 1:
            # The one query with an authority section (RFC 1995 3); its SOA need not be read to be refused.
            return Fault(ident, 0, rd, REFUSED, question, None, "transfer")
        if answers or authorities or additionals > 2:
            raise _Broken("counts")
        edns, version = _read_additional(data, end, additionals)
        if version != 0:
            return Fault(ident, 0, rd, BADVERS, question, edns, "edns_version")
        if qtype in (TYPE_IXFR, TYPE_AXFR):
            return Fault(ident, 0, rd, REFUSED, question, edns, "transfer")
    except _Broken as broken:
        return Fault(ident, 0, rd, FORMERR, question, broken.edns, broken.reason)
    return Query(ident, rd, question, name, qtype, qclass, edns)


def _read_cookie_query(ident: int, rd: bool, data: bytes) -> Query | Fault:
    edns, version = _read_additional(data, _HEADER.size, 1)
    if version != 0:
        return Fault(ident, 0, rd, BADVERS, b"", edns, "edns_version")
    if edns is None or edns.cookie is None:
        raise _Broken("counts", edns)
    return Query(ident, rd, b"", b"", 0, 0, edns)


def _name_end(data: bytes, offset: int) -> int:
    """Returns the offset after an uncompressed name of at most 255 octets."""
    limit, size = offset + 255, len(data)
    while offset < size:
        length = data[offset]
        if length >= 64:
            raise _Broken("label")
        offset += 1 + length
        if offset > limit:
            raise _Broken("name")
        if length == 0:
            return offset
    raise _Broken("question")


def _read_additional(data: bytes, offset: int, count: int) -> tuple[Edns | None, int]:
    """Returns the OPT record, if there is one, and its EDNS version (0 without)."""
    edns, version = None, 0
    for _ in range(count):
        start = offset
        # Nearly always the root, as OPT has it.
        offset = offset + 1 if data[offset : offset + 1] == b"\x00" else _name_end(data, offset)
        if offset + _RECORD_TAIL.size > len(data):
            raise _Broken("additional")
        rtype, rclass, ttl, length = _RECORD_TAIL.unpack_from(data, offset)
        begin = offset + _RECORD_TAIL.size
        offset = begin + length
        if offset > len(data):
            raise _Broken("additional")
        if rtype != TYPE_OPT:
            continue
        if edns is not None or data[start] != 0:
            raise _Broken("opt", edns)
        version = ttl >> 16 & 255
        edns = Edns(rclass, bool(ttl & _DO))
        if version == 0 and length:
            try:
                edns = read_edns(rclass, edns.do, data[begin:offset])
            except BadOption as bad:
                raise _Broken(str(bad), edns) from None
    if offset != len(data):
        raise _Broken("trailing", edns)
    return edns, version
