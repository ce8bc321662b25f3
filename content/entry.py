"""A stored answer, and the file that its head is kept in.

::

     0 magic "BRC1" 4 | 4 length 4 (of the whole file) | 8 CRC-32 of all from 12 on 4
    12 body length 8 | 20 body CRC-32 4 | 24 requested 8 | 32 received 8 (Unix seconds, IEEE 754) | 40 status 2
    42 key length 2 | key | reason length 2 | reason | headers | fields that Vary names
       headers, fields: count 2 | count x (name length 2 | name | value length 4 | value)

Integers are big-endian. The body is a file of its own beside it, so that a confirmed answer is a new head alone.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from braid.errors import BadPacket
from content.freshness import Times
from content.message import Head, Headers

MAGIC = b"BRC1"
MAX_HEAD = 1 << 20
BLOCK = 4096
"""Bytes that files occupy in multiples of."""
BAD_MAGIC, BAD_LENGTH, BAD_CRC, BAD_FIELD = "entry_magic", "entry_length", "entry_crc", "entry_field"
_PREFIX = struct.Struct("!4sII")
_FIXED = struct.Struct("!QIddH")
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Entry:
    id: str
    """Names its files; 32 hexadecimal digits."""
    key: str
    selecting: Headers
    """What the request for it said in the fields that ``Vary`` names."""
    head: Head
    times: Times
    length: int
    """Bytes of the body."""
    crc: int
    """CRC-32 of the body."""

    @property
    def cost(self) -> int:
        """Bytes on disk, nearly."""
        return BLOCK + -(-self.length // BLOCK) * BLOCK


def encode(entry: Entry) -> bytes:
    """Raises ``ValueError`` for what is too long."""
    fixed = _FIXED.pack(entry.length, entry.crc, entry.times.requested, entry.times.received, entry.head.status)
    parts = [fixed, _short(entry.key.encode("latin-1")), _short(entry.head.reason)]
    parts += [_headers(entry.head.headers), _headers(entry.selecting)]
    body = b"".join(parts)
    length = _PREFIX.size + len(body)
    if length > MAX_HEAD:
        raise ValueError(f"the head of {entry.key} has {length} bytes")
    return _PREFIX.pack(MAGIC, length, zlib.crc32(body)) + body


def decode(name: str, data: bytes) -> Entry:
    """The entry in a file called ``name``. Raises ``BadPacket`` and nothing else."""
    if len(data) < _PREFIX.size + _FIXED.size:
        raise BadPacket(BAD_LENGTH)
    magic, length, crc = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise BadPacket(BAD_MAGIC)
    if length != len(data) or length > MAX_HEAD:
        raise BadPacket(BAD_LENGTH)
    if zlib.crc32(data[_PREFIX.size :]) != crc:
        raise BadPacket(BAD_CRC)
    body_length, body_crc, requested, received, status = _FIXED.unpack_from(data, _PREFIX.size)
    if not (0 <= requested < 1e12 and 0 <= received < 1e12 and 100 <= status < 600):
        raise BadPacket(BAD_FIELD)
    reader = _Reader(data, _PREFIX.size + _FIXED.size)
    key, reason = reader.take(_SHORT), reader.take(_SHORT)
    headers, selecting = reader.headers(), reader.headers()
    if reader.offset != len(data):
        raise BadPacket(BAD_LENGTH)
    head = Head(status, headers, reason)
    return Entry(name, key.decode("latin-1"), selecting, head, Times(requested, received), body_length, body_crc)


class _Reader:
    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self.offset = offset

    def number(self, kind: struct.Struct) -> int:
        if self.offset + kind.size > len(self._data):
            raise BadPacket(BAD_LENGTH)
        (number,) = kind.unpack_from(self._data, self.offset)
        self.offset += kind.size
        return int(number)

    def take(self, kind: struct.Struct) -> bytes:
        length = self.number(kind)
        if self.offset + length > len(self._data):
            raise BadPacket(BAD_LENGTH)
        self.offset += length
        return self._data[self.offset - length : self.offset]

    def headers(self) -> Headers:
        count = self.number(_SHORT)
        return tuple((self.take(_SHORT), self.take(_LONG)) for _ in range(count))


def _short(value: bytes) -> bytes:
    if len(value) >= 1 << 16:
        raise ValueError("a key or reason of more than 65,535 bytes")
    return _SHORT.pack(len(value)) + value


def _headers(headers: Headers) -> bytes:
    parts = [_SHORT.pack(len(headers))]
    for name, value in headers:
        parts += [_short(name), _LONG.pack(len(value)), value]
    return b"".join(parts)
