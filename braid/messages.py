"""Control messages between nodes: typed, versioned, decoded once or ``BadPacket``.

They travel inside sessions (authenticated, never twice), at most ``MAX_MESSAGE`` bytes each. Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 body

    kind 1, edge report (edge -> dns, every 500 ms and at once when something changes)
     4 sequence 4 | 8 flags 1 (bit 0 ready, bit 1 draining, others 0) | 9 count 1 | 10 count x application
       application: name length 1 (1..63) | name | usable 1 (0..4) | load 1

    kind 3, edge measures (edge -> dns, with each report; a node that does not know them goes by the reports)
     4 sequence 4 | 8 spill 1 | 9 count 1 | 10 count x application
       application: name length 1 (1..63) | name | delay 2 (tenths of a millisecond, all ones: not measured)

Applications go by name, so that nodes with different versions of the topology never mix them up.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from braid.errors import BadPacket

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
MAX_MESSAGE = 1100
"""Bytes; what the core carries in one piece."""
EDGE_REPORT, EDGE_MEASURES = 1, 3
"""2 is a summary, ``braid.status.wire``; 16 to 28 are the transfer protocol, ``braid.transfer``; 32 to 35 belong to
it, ``braid.stored`` and ``braid.outdated``."""
MAX_DELAY = 0xFFFE

SHORT = "control_short"
BAD_VERSION = "control_version"
BAD_KIND = "control_kind"
BAD_LENGTH = "control_length"
BAD_FIELD = "control_field"

_HEAD = struct.Struct("!BBH")
_REPORT = struct.Struct("!IBB")
"""Also of the measures."""
_READY, _DRAINING = 1, 2
_NAME = re.compile(rb"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?")
_MAX_USABLE = 4
_UNMEASURED = 0xFFFF


@dataclass(frozen=True, slots=True)
class ApplicationReport:
    """How well an edge can carry one application at this moment."""

    name: str
    usable: int
    """Disjoint paths in working order to the application's best reachable gateway, 0..4; more than 4 count as 4."""
    load: int
    """0..255, 255 is full."""


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What an edge says of itself to the DNS nodes."""

    sequence: int
    """32 bits; begins at random when the edge starts, then grows by 1 per message and wraps."""
    ready: bool
    draining: bool
    """Still carries packets, wants no new clients."""
    applications: tuple[ApplicationReport, ...]
    """Those of this message; what an earlier one has said of others stays."""


@dataclass(frozen=True, slots=True)
class ApplicationDelay:
    """How long the way behind an edge takes."""

    name: str
    delay: int | None
    """Round trip to the gateway that new flows of the application use, tenths of a millisecond, 0..``MAX_DELAY``; None
    until it is measured."""


@dataclass(frozen=True, slots=True)
class EdgeMeasures:
    """What an edge measures of itself, for the DNS nodes."""

    sequence: int
    """As in ``EdgeReport``, counted for itself."""
    spill: int
    """0..255: the share of its clients that should be named another edge, 255 is all of them."""
    applications: tuple[ApplicationDelay, ...]


Message = EdgeReport | EdgeMeasures
_Entry = TypeVar("_Entry", ApplicationReport, ApplicationDelay)


def encode(message: Message) -> bytes:
    """Returns one message. Raises ``ValueError`` when it would be longer than ``MAX_MESSAGE`` or a field is out of
    range: see ``split`` and ``split_measures`` for many applications."""
    match message:
        case EdgeReport():
            kind, octet = EDGE_REPORT, _READY * message.ready | _DRAINING * message.draining
            entries = [_encode_application(application) for application in message.applications]
        case EdgeMeasures():
            kind, octet = EDGE_MEASURES, message.spill
            entries = [_encode_delay(application) for application in message.applications]
    if len(entries) > 255 or not 0 <= message.sequence < 1 << 32 or not 0 <= octet <= 255:
        raise ValueError(f"edge report {message.sequence}: a number or the count of applications is out of range")
    body = _REPORT.pack(message.sequence, octet, len(entries)) + b"".join(entries)
    length = _HEAD.size + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"edge report of {length} bytes: at most {MAX_MESSAGE} fit, split it")
    return _HEAD.pack(VERSION, kind, length) + body


def split(report: EdgeReport) -> tuple[EdgeReport, ...]:
    """Returns reports that fit, with following sequence numbers; one of them even without applications."""
    return tuple(
        replace(report, sequence=(report.sequence + index) % (1 << 32), applications=part)
        for index, part in enumerate(_parts(report.applications))
    )


def split_measures(measures: EdgeMeasures) -> tuple[EdgeMeasures, ...]:
    """The same for measures."""
    return tuple(
        replace(measures, sequence=(measures.sequence + index) % (1 << 32), applications=part)
        for index, part in enumerate(_parts(measures.applications))
    )


def _parts(applications: tuple[_Entry, ...]) -> list[tuple[_Entry, ...]]:
    whole = MAX_MESSAGE - _HEAD.size - _REPORT.size
    parts: list[list[_Entry]] = [[]]
    room = whole
    for application in applications:
        size = len(application.name) + 3
        if size > room or len(parts[-1]) == 255:
            parts.append([])
            room = whole
        parts[-1].append(application)
        room -= size
    return [tuple(part) for part in parts]


def decode(data: bytes) -> Message:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MAX_MESSAGE:
        raise BadPacket(BAD_LENGTH)
    if kind not in (EDGE_REPORT, EDGE_MEASURES):
        raise BadPacket(BAD_KIND)
    offset = _HEAD.size + _REPORT.size
    if len(data) < offset:
        raise BadPacket(SHORT)
    sequence, octet, count = _REPORT.unpack_from(data, _HEAD.size)
    if kind == EDGE_MEASURES:
        return EdgeMeasures(sequence, octet, _entries(data, offset, count, _delay))
    if octet & ~(_READY | _DRAINING):
        raise BadPacket(BAD_FIELD)
    applications = _entries(data, offset, count, _application)
    return EdgeReport(sequence, bool(octet & _READY), bool(octet & _DRAINING), applications)


def _entries(data: bytes, offset: int, count: int, read: Callable[[str, int, int], _Entry]) -> tuple[_Entry, ...]:
    """``read`` makes an entry of its name and the two bytes after it. They must end where the message does."""
    entries: list[_Entry] = []
    for _ in range(count):
        if offset >= len(data):
            raise BadPacket(SHORT)
        end = offset + 1 + data[offset]
        if end + 2 > len(data):
            raise BadPacket(SHORT)
        name = data[offset + 1 : end]
        if _NAME.fullmatch(name) is None:
            raise BadPacket(BAD_FIELD)
        entries.append(read(name.decode("ascii"), data[end], data[end + 1]))
        offset = end + 2
    if offset != len(data):
        raise BadPacket(BAD_LENGTH)
    if len({entry.name for entry in entries}) != count:
        raise BadPacket(BAD_FIELD)
    return tuple(entries)


def _application(name: str, usable: int, load: int) -> ApplicationReport:
    if usable > _MAX_USABLE:
        raise BadPacket(BAD_FIELD)
    return ApplicationReport(name, usable, load)


def _delay(name: str, high: int, low: int) -> ApplicationDelay:
    delay = high << 8 | low
    return ApplicationDelay(name, None if delay == _UNMEASURED else delay)


def _encode_application(application: ApplicationReport) -> bytes:
    if not 0 <= application.load <= 255 or application.usable < 0:
        raise ValueError(f"{application}: a number is out of range")
    return _encode_name(application) + bytes([min(application.usable, _MAX_USABLE), application.load])


def _encode_delay(application: ApplicationDelay) -> bytes:
    delay = _UNMEASURED if application.delay is None else application.delay
    if application.delay is not None and not 0 <= delay <= MAX_DELAY:
        raise ValueError(f"{application}: the delay is out of range")
    return _encode_name(application) + delay.to_bytes(2, "big")


def _encode_name(application: ApplicationReport | ApplicationDelay) -> bytes:
    name = application.name.encode("ascii", "replace")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{application}: the name is not a label")
    return bytes([len(name)]) + name
