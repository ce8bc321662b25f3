"""Control messages between nodes: typed, versioned, decoded once or ``BadPacket``.

They travel inside sessions (authenticated, never twice), at most ``MAX_MESSAGE`` bytes each. Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 body

    kind 1, edge report (edge -> dns, every 500 ms and at once when something changes)
     4 sequence 4 | 8 flags 1 (bit 0 ready, bit 1 draining, others 0) | 9 count 1 | 10 count x application
       application: name length 1 (1..63) | name | usable 1 (0..4) | load 1

Applications go by name, so that nodes with different versions of the topology never mix them up.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from braid.errors import BadPacket

VERSION = 1
MAX_MESSAGE = 1100
"""Bytes; what the core carries in one piece."""
EDGE_REPORT = 1

SHORT = "control_short"
BAD_VERSION = "control_version"
BAD_KIND = "control_kind"
BAD_LENGTH = "control_length"
BAD_FIELD = "control_field"

_HEAD = struct.Struct("!BBH")
_REPORT = struct.Struct("!IBB")
_READY, _DRAINING = 1, 2
_NAME = re.compile(rb"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?")
_MAX_USABLE = 4


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


Message = EdgeReport


def encode(message: Message) -> bytes:
    """Returns one message. Raises ``ValueError`` when it would be longer than ``MAX_MESSAGE`` or a field is out of
    range: see ``split`` for many applications."""
    body = bytearray()
    flags = _READY * message.ready | _DRAINING * message.draining
    if len(message.applications) > 255 or not 0 <= message.sequence < 1 << 32:
        raise ValueError(f"edge report {message.sequence}: sequence or number of applications out of range")
    body += _REPORT.pack(message.sequence, flags, len(message.applications))
    for application in message.applications:
        body += _encode_application(application)
    length = _HEAD.size + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"edge report of {length} bytes: at most {MAX_MESSAGE} fit, split it")
    return _HEAD.pack(VERSION, EDGE_REPORT, length) + body


def split(report: EdgeReport) -> tuple[EdgeReport, ...]:
    """Returns reports that fit, with following sequence numbers; one of them even without applications."""
    parts: list[list[ApplicationReport]] = [[]]
    room = MAX_MESSAGE - _HEAD.size - _REPORT.size
    for application in report.applications:
        size = len(application.name) + 3
        if size > room or len(parts[-1]) == 255:
            parts.append([])
            room = MAX_MESSAGE - _HEAD.size - _REPORT.size
        parts[-1].append(application)
        room -= size
    return tuple(
        EdgeReport((report.sequence + index) % (1 << 32), report.ready, report.draining, tuple(part))
        for index, part in enumerate(parts)
    )


def decode(data: bytes) -> Message:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MAX_MESSAGE:
        raise BadPacket(BAD_LENGTH)
    if kind != EDGE_REPORT:
        raise BadPacket(BAD_KIND)
    return _decode_report(data)


def _decode_report(data: bytes) -> EdgeReport:
    offset = _HEAD.size + _REPORT.size
    if len(data) < offset:
        raise BadPacket(SHORT)
    sequence, flags, count = _REPORT.unpack_from(data, _HEAD.size)
    if flags & ~(_READY | _DRAINING):
        raise BadPacket(BAD_FIELD)
    applications: list[ApplicationReport] = []
    for _ in range(count):
        application, offset = _decode_application(data, offset)
        applications.append(application)
    if offset != len(data):
        raise BadPacket(BAD_LENGTH)
    if len({application.name for application in applications}) != count:
        raise BadPacket(BAD_FIELD)
    return EdgeReport(sequence, bool(flags & _READY), bool(flags & _DRAINING), tuple(applications))


def _encode_application(application: ApplicationReport) -> bytes:
    name = application.name.encode("ascii", "replace")
    if _NAME.fullmatch(name) is None or not 0 <= application.load <= 255 or application.usable < 0:
        raise ValueError(f"{application}: the name is not a label or a number is out of range")
    return bytes([len(name)]) + name + bytes([min(application.usable, _MAX_USABLE), application.load])


def _decode_application(data: bytes, offset: int) -> tuple[ApplicationReport, int]:
    if offset >= len(data):
        raise BadPacket(SHORT)
    end = offset + 1 + data[offset]
    if end + 2 > len(data):
        raise BadPacket(SHORT)
    name, usable, load = data[offset + 1 : end], data[end], data[end + 1]
    if _NAME.fullmatch(name) is None or usable > _MAX_USABLE:
        raise BadPacket(BAD_FIELD)
    return ApplicationReport(name.decode("ascii"), usable, load), end + 2
