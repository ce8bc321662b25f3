"""Summaries as control messages: decoded once or ``BadPacket``. Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 (= 2, summary) | 2 length 2 (of the whole message) | 4 origin 2 | 6 part 1 | 7 parts 1
     8 sequence 8 | 16 interval 2 (tenths of a second) | 18 flags 1 (bit 0 ready, 1 draining, 2 truncated, 3 news,
    others 0)
    19 revision 6 | 25 uptime 4 (s) | 29 records: kind 1 | length 1 | body

A summary is told in 1 to ``MAX_PARTS`` messages; each carries the head and whole records. Several messages, of any
nodes, may follow each other in one control message of at most ``MAX_MESSAGE`` bytes. A record of an unknown kind
is passed over, and so is what follows the known fields of a known one: later versions may add both. All ones stands for
"not known". A text is UTF-8, printable, with its length (1 byte) before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, BAD_VERSION, MAX_MESSAGE, SHORT, VERSION
from braid.redundancy.verdict import Word
from braid.status.changes import Kind, Tone
from braid.status.summary import (
    ApplicationSummary,
    ArrivalReport,
    ChangeReport,
    LinkReport,
    LoadReport,
    PathReport,
    RedundancyReport,
    SetReport,
    Summary,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SUMMARY = 2
MAX_PARTS = 32
MAX_SEQUENCE = (1 << 63) - 1
"""So that a node can always tell something newer than what was told in its name."""
_HEAD = struct.Struct("!BBHHBBQHB6sI")
_READY, _DRAINING, _TRUNCATED, _NEWS = 1, 2, 4, 8
_LINK, _PATH, _ARRIVAL, _APPLICATION, _CHANGE, _PROBLEM, _LOAD, _SET, _REDUNDANCY = range(1, 10)
_LINK_BODY = struct.Struct("!HBIIII")
_PATH_BODY = struct.Struct("!HBBIQIIIIB")
_ARRIVAL_BODY = struct.Struct("!HBHQQH")
_APPLICATION_BODY = struct.Struct("!BBHIIBB")
_CHANGE_BODY = struct.Struct("!IBB")
_PATH_TAIL = struct.Struct("!QQH")
_SET_BODY = struct.Struct("!HBIIQQQQ")
_REDUNDANCY_BODY = struct.Struct("!H4B3I2H2I3Q")
_LOAD_BODY = struct.Struct("!H")
_NONE, _NO_SHARE = 0xFFFFFFFF, 0xFFFF
_KINDS, _TONES, _VERDICTS = tuple(Kind), tuple(Tone), tuple(word.value for word in Word)
_MAX_HOPS = 8

Record = (
    LinkReport | PathReport | ArrivalReport | ApplicationSummary | ChangeReport | LoadReport | SetReport
    | RedundancyReport | str
)  # fmt: skip
"""A bare text is the reason why the node is not ready."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message. ``head`` is the summary without its records."""

    head: Summary
    sequence: int
    interval_s: float
    part: int
    parts: int
    records: tuple[Record, ...]
    news: bool = False
    """It was told early, because something changed."""


def is_summary(message: bytes) -> bool:
    return len(message) > 1 and message[0] == VERSION and message[1] == SUMMARY


def identity(message: bytes) -> tuple[int, int, int]:
    """Origin, sequence and part, without a look at the rest. Raises ``BadPacket``."""
    head = _head(message)
    return head[3], head[6], head[4]


def joined(messages: Iterable[bytes]) -> list[bytes]:
    """The same messages in order, as few control messages as that takes."""
    found: list[bytes] = []
    for message in messages:
        if found and len(found[-1]) + len(message) <= MAX_MESSAGE:
            found[-1] += message
        else:
            found.append(message)
    return found


def parted(control: bytes) -> Iterator[bytes]:
    """The messages of one control message. Raises ``BadPacket`` where something else follows."""
    at = 0
    while at < len(control):
        if len(control) < at + 4:
            raise BadPacket(SHORT)
        length = int.from_bytes(control[at + 2 : at + 4])
        if not _HEAD.size <= length <= len(control) - at:
            raise BadPacket(BAD_LENGTH)
        yield control[at : at + length]
        at += length


def encode(
    summary: Summary, sequence: int, interval_s: float, max_parts: int = MAX_PARTS, *, news: bool = False
) -> list[bytes]:
    """At most ``max_parts`` messages; what does not fit is left out from the end, and the summary says so."""
    room = MAX_MESSAGE - _HEAD.size
    bodies: list[bytearray] = [bytearray()]
    truncated = summary.truncated
    for record in map(_encode_record, _records(summary)):
        if len(bodies[-1]) + len(record) > room:
            if len(bodies) == min(max_parts, MAX_PARTS):
                truncated = True
                break
            bodies.append(bytearray())
        bodies[-1] += record
    flags = _READY * summary.ready | _DRAINING * summary.draining | _TRUNCATED * truncated | _NEWS * news
    revision = bytes.fromhex(f"{summary.revision:0<12.12}") if _is_hex(summary.revision) else bytes(6)
    return [
        _HEAD.pack(VERSION, SUMMARY, _HEAD.size + len(body), summary.origin, part, len(bodies), sequence,
                   min(round(interval_s * 10), 0xFFFF), flags, revision, min(summary.uptime_s, _NONE))
        + body
        for part, body in enumerate(bodies)
    ]  # fmt: skip


def decode(message: bytes) -> Part:
    """Raises ``BadPacket`` and nothing else."""
    _, _, _, origin, part, parts, sequence, interval, flags, revision, uptime = _head(message)
    if flags & ~(_READY | _DRAINING | _TRUNCATED | _NEWS) or not part < parts <= MAX_PARTS or sequence > MAX_SEQUENCE:
        raise BadPacket(BAD_FIELD)
    head = Summary(
        origin, bool(flags & _READY), bool(flags & _DRAINING), bool(flags & _TRUNCATED), revision.hex(), uptime, ""
    )
    return Part(head, sequence, interval / 10, part, parts, tuple(_decode_records(message)), bool(flags & _NEWS))


def assemble(head: Summary, records: Sequence[Record]) -> Summary:
    """The records of all parts, in order, as one summary."""
    return replace(
        head,
        problem=next((record for record in records if isinstance(record, str)), ""),
        links=tuple(record for record in records if isinstance(record, LinkReport)),
        paths=tuple(record for record in records if isinstance(record, PathReport)),
        arrivals=tuple(record for record in records if isinstance(record, ArrivalReport)),
        applications=tuple(record for record in records if isinstance(record, ApplicationSummary)),
        changes=tuple(record for record in records if isinstance(record, ChangeReport)),
        sets=tuple(record for record in records if isinstance(record, SetReport)),
        redundancy=tuple(record for record in records if isinstance(record, RedundancyReport)),
        load_permille=next((record.permille for record in records if isinstance(record, LoadReport)), None),
    )


def _head(message: bytes) -> tuple[int, int, int, int, int, int, int, int, int, bytes, int]:
    if len(message) < _HEAD.size:
        raise BadPacket(SHORT)
    head: tuple[int, int, int, int, int, int, int, int, int, bytes, int] = _HEAD.unpack_from(message)
    if head[0] != VERSION:
        raise BadPacket(BAD_VERSION)
    if head[1] != SUMMARY:
        raise BadPacket(BAD_KIND)
    if head[2] != len(message) or len(message) > MAX_MESSAGE:
        raise BadPacket(BAD_LENGTH)
    return head


def _records(summary: Summary) -> list[Record]:
    """In the order of what matters most."""
    problem = [summary.problem] if summary.problem else []
    load = [] if summary.load_permille is None else [LoadReport(summary.load_permille)]
    return [*problem, *load, *summary.applications, *summary.redundancy, *summary.paths, *summary.links, *summary.sets,
            *summary.changes, *summary.arrivals]  # fmt: skip


def _encode_record(record: Record) -> bytes:
    match record:
        case LinkReport():
            since, rtt, jitter, loss = map(_number, (record.since_s, record.rtt_us, record.jitter_us, record.loss_ppm))
            kind, body = _LINK, _LINK_BODY.pack(record.neighbour, record.up, since, rtt, jitter, loss)
        case PathReport():
            flags = record.up | record.in_use << 1 | record.silent << 2
            measured = map(_number, (record.rtt_us, record.one_way_us, record.jitter_us, record.loss_ppm))
            fixed = _PATH_BODY.pack(
                record.peer, record.id, flags, _number(record.since_s), record.sent, *measured, len(record.route)
            )
            kind, body = _PATH, fixed + struct.pack(f"!{len(record.route)}H", *record.route) + _text(record.detail, 120)
            if record.reported is not None and record.lost is not None:
                body += _PATH_TAIL.pack(record.reported, record.lost, record.mtu or 0)
        case ArrivalReport():
            share = _NO_SHARE if record.first_permille is None else record.first_permille
            fields = (record.peer, record.id, record.via, record.kept, record.eliminated, share)
            kind, body = _ARRIVAL, _ARRIVAL_BODY.pack(*fields)
        case ApplicationSummary():
            counts = (min(record.wanted, 255), min(record.usable, 255), record.gateway, _number(record.since_s))
            targets = (_number(record.flows), min(record.targets, 255), min(record.healthy, 255))
            fixed = _APPLICATION_BODY.pack(*counts, *targets)
            kind, body = _APPLICATION, fixed + _text(record.name, 63) + _text(record.cause, 120)
        case ChangeReport():
            which, tone = _KINDS.index(Kind(record.kind)), _TONES.index(Tone(record.tone))
            fixed = _CHANGE_BODY.pack(_number(record.age_s), which, tone)
            kind, body = _CHANGE, fixed + _text(record.text, 120) + _text(record.cause, 120)
        case SetReport():
            probes = (record.joint_probes, record.joint_lost)
            came = (record.passed, record.discarded, record.out_of_order, record.lost)
            fixed = _SET_BODY.pack(record.peer, min(record.copies, 255), *probes, *came)
            kind, body = _SET, fixed + _text(record.why, 190)
        case RedundancyReport():
            paths = (record.surging, min(record.using, 255), min(record.candidates, 255))
            parts = map(_number, (record.target_ppb, record.estimate_ppb, record.bound_ppb))
            copies = (min(record.mean_copies_permille, 0xFFFF), min(record.budget_permille, 0xFFFF))
            surges = map(_number, (record.surges, record.longest_surge_s))
            verdict = _VERDICTS.index(record.verdict)
            packets = (record.settled, record.repaired, record.lost)
            fixed = _REDUNDANCY_BODY.pack(record.peer, verdict, *paths, *parts, *copies, *surges, *packets)
            kind, body = _REDUNDANCY, fixed + _text(record.application, 63) + _text(record.text, 120)
        case LoadReport():
            kind, body = _LOAD, _LOAD_BODY.pack(record.permille)
        case _:
            kind, body = _PROBLEM, _text(record, 200)
    return bytes((kind, len(body))) + body


def _decode_records(message: bytes) -> list[Record]:
    found: list[Record] = []
    at = _HEAD.size
    while at < len(message):
        if at + 2 > len(message):
            raise BadPacket(SHORT)
        kind, end = message[at], at + 2 + message[at + 1]
        if end > len(message):
            raise BadPacket(SHORT)
        record = _decode_record(kind, message[at + 2 : end])
        if record is not None:
            found.append(record)
        at = end
    return found


def _decode_record(kind: int, body: bytes) -> Record | None:
    try:
        match kind:
            case 1:
                number, up, since, rtt, jitter, loss = _LINK_BODY.unpack_from(body)
                return LinkReport(number, bool(up & 1), *map(_known, (since, rtt, jitter, loss)))
            case 2:
                return _decode_path(body)
            case 3:
                peer, path, via, kept, eliminated, share = _ARRIVAL_BODY.unpack_from(body)
                if share != _NO_SHARE and share > 1000:
                    raise BadPacket(BAD_FIELD)
                return ArrivalReport(peer, path, via, kept, eliminated, None if share == _NO_SHARE else share)
            case 4:
                wanted, usable, gateway, since, flows, targets, healthy = _APPLICATION_BODY.unpack_from(body)
                name, at = _read_text(body, _APPLICATION_BODY.size)
                cause, _ = _read_text(body, at)
                return ApplicationSummary(name, wanted, usable, gateway, _known(since), flows, targets, healthy, cause)
            case 5:
                age, which, tone = _CHANGE_BODY.unpack_from(body)
                if which >= len(_KINDS) or tone >= len(_TONES):
                    return None
                text, at = _read_text(body, _CHANGE_BODY.size)
                cause, _ = _read_text(body, at)
                return ChangeReport(age, _KINDS[which], _TONES[tone], text, cause)
            case 6:
                return _read_text(body, 0)[0]
            case 8:
                fixed: tuple[int, int, int, int, int, int, int, int] = _SET_BODY.unpack_from(body)
                return SetReport(*fixed, _read_text(body, _SET_BODY.size)[0])
            case 9:
                return _decode_redundancy(body)
            case 7:
                (permille,) = _LOAD_BODY.unpack_from(body)
                if permille > 1000:
                    raise BadPacket(BAD_FIELD)
                return LoadReport(permille)
    except struct.error as error:
        raise BadPacket(SHORT) from error
    return None


def _decode_path(body: bytes) -> PathReport:
    peer, number, flags, since, sent, rtt, one_way, jitter, loss, hops = _PATH_BODY.unpack_from(body)
    if not 1 <= hops <= _MAX_HOPS:
        raise BadPacket(BAD_FIELD)
    route = struct.unpack_from(f"!{hops}H", body, _PATH_BODY.size)
    detail, at = _read_text(body, _PATH_BODY.size + 2 * hops)
    told = len(body) >= at + _PATH_TAIL.size
    reported, lost, mtu = _PATH_TAIL.unpack_from(body, at) if told else (None, None, 0)
    return PathReport(
        peer=peer,
        id=number,
        up=bool(flags & 1),
        in_use=bool(flags & 2),
        silent=bool(flags & 4),
        since_s=_known(since),
        sent=sent,
        rtt_us=_known(rtt),
        one_way_us=_known(one_way),
        jitter_us=_known(jitter),
        loss_ppm=_known(loss),
        route=route,
        detail=detail,
        reported=reported,
        lost=lost,
        mtu=mtu or None,
    )


def _decode_redundancy(body: bytes) -> RedundancyReport | None:
    peer, verdict, surging, using, candidates, *rest = _REDUNDANCY_BODY.unpack_from(body)
    application, at = _read_text(body, _REDUNDANCY_BODY.size)
    text, _ = _read_text(body, at)
    if verdict >= len(_VERDICTS):
        return None
    return RedundancyReport(peer, application, _VERDICTS[verdict], text, bool(surging & 1), using, candidates, *rest)


def _number(value: int | None) -> int:
    return _NONE if value is None else min(max(value, 0), _NONE - 1)


def _known(value: int) -> int | None:
    return None if value == _NONE else value


def _text(text: str, limit: int) -> bytes:
    """Cut to ``limit`` bytes between characters."""
    raw = text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore").encode()
    return bytes((len(raw),)) + raw


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    if at >= len(body) or at + 1 + body[at] > len(body):
        raise BadPacket(SHORT)
    end = at + 1 + body[at]
    try:
        text = body[at + 1 : end].decode()
    except UnicodeDecodeError as error:
        raise BadPacket(BAD_FIELD) from error
    if not text.isprintable():
        raise BadPacket(BAD_FIELD)
    return text, end


def _is_hex(text: str) -> bool:
    return bool(text) and all(character in "0123456789abcdef" for character in text)
