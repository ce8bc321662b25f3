"""One query and one view become one answer. RFC 1034/1035, 2308, 3597, 4343, 6891, 8020, 8482."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from dns import gate
from dns.counters import RCODE_NAMES, TYPE_NAMES
from dns.gate import Drop, Edns, Fault, Query
from dns.records import TYPE_A, TYPE_AAAA, TYPE_NS, TYPE_SOA, UDP_SIZE, opt, parent

if TYPE_CHECKING:
    from dns.counters import Counters
    from dns.records import Name, Records
    from dns.view import View

Transport = Literal["udp", "tcp"]

NOERROR, NXDOMAIN = 0, 3
CLASS_IN, TYPE_ANY = 1, 255

_HEADER = struct.Struct("!6H")
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100
_PLAIN_UDP = 512
_TCP_SIZE = 65535
_TO_QUESTION = b"\xc0\x0c"


@dataclass(frozen=True, slots=True)
class _Sections:
    rcode: int
    authoritative: bool = True
    answer: Records = ()
    authority: Records = ()
    additional: Records = ()
    """Left out when it does not fit; the others are never cut in part."""


_REFUSED = _Sections(gate.REFUSED, authoritative=False)


def respond(data: bytes, client: str, transport: Transport, view: View, counters: Counters) -> bytes | None:
    """Returns the answer to one message, or None for none. ``client`` is the address it came from, as text.

    Never raises for anything in ``data``.
    """
    query = gate.read(data)
    match query:
        case Drop(reason):
            counters.drops[reason] += 1
            return None
        case Fault():
            counters.faults[query.reason] += 1
            counters.queries[transport, "other", RCODE_NAMES[query.rcode]] += 1
            sections = _Sections(query.rcode, authoritative=False)
            flags = query.opcode << 11
            return _pack(query.id, flags, query.rd, query.question, sections, query.edns, transport, counters)
        case Query():
            sections = _resolve(query, client, view, counters)
            label = TYPE_NAMES.get(query.qtype, "other")
            counters.queries[transport, label, RCODE_NAMES[sections.rcode]] += 1
            return _pack(query.id, 0, query.rd, query.question, sections, query.edns, transport, counters)


def _resolve(query: Query, client: str, view: View, counters: Counters) -> _Sections:
    zone = view.zone
    if query.qclass != CLASS_IN or not _inside(query.name, zone.apex):
        return _REFUSED
    # The zone's name stands at the end of the question's: that is where negative answers point to.
    offset = 12 + len(query.name) - len(zone.apex)
    to_apex = (0xC000 | offset).to_bytes(2, "big")
    soa = (to_apex + zone.negative_soa,)
    name = zone.names.get(query.name)
    if name is None:
        return _Sections(NXDOMAIN, authority=soa)
    records = _records(name, query.qtype, client, view, counters)
    if not records:
        return _Sections(NOERROR, authority=soa)
    additional: Records = ()
    if query.qtype == TYPE_NS:
        additional = tuple(owner + record for owner, addresses in zone.glue for record in addresses)
    return _Sections(NOERROR, answer=tuple(_TO_QUESTION + record for record in records), additional=additional)


def _records(name: Name, qtype: int, client: str, view: View, counters: Counters) -> Records:
    if qtype == TYPE_ANY:
        # RFC 8482 4.1: any one RRset will do.
        kinds = (TYPE_SOA, TYPE_A, TYPE_AAAA)
        return next((found for kind in kinds if (found := _records(name, kind, client, view, counters))), ())
    static = name.records.get(qtype, ())
    if static or name.application is None or qtype not in (TYPE_A, TYPE_AAAA):
        return static
    edges = view.edges_for(ip_address(client), name.application)
    if len(edges) > 1:
        counters.fail_open += 1
    elif edges:
        counters.answers[name.application, view.config.edges[edges[0]].name] += 1
    return tuple(record for edge in edges for record in view.zone.vips[edge, name.application].get(qtype, ()))


def _inside(name: bytes, apex: bytes) -> bool:
    while len(name) > len(apex):
        name = parent(name)
    return name == apex


def _pack(
    ident: int,
    flags: int,
    rd: bool,
    question: bytes,
    sections: _Sections,
    edns: Edns | None,
    transport: Transport,
    counters: Counters,
) -> bytes:
    limit = _TCP_SIZE
    if transport == "udp":
        limit = _PLAIN_UDP if edns is None else min(max(edns.udp_size, _PLAIN_UDP), UDP_SIZE)
    tail = b"" if edns is None else opt(sections.rcode, do=edns.do)
    flags |= _QR | _AA * sections.authoritative | _RD * rd | sections.rcode & 15
    needed = b"".join((*sections.answer, *sections.authority))
    counts = [bool(question), len(sections.answer), len(sections.authority), bool(tail)]
    room = limit - 12 - len(question) - len(tail) - len(needed)
    if room < 0:
        counters.truncated += 1
        return _HEADER.pack(ident, flags | _TC, bool(question), 0, 0, bool(tail)) + question + tail
    extra = b"".join(sections.additional)
    if len(extra) > room:
        extra = b""
    else:
        counts[3] += len(sections.additional)
    return _HEADER.pack(ident, flags, *counts) + question + needed + extra + tail
