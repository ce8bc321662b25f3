"""What the messages of connection transfers have in common: version, kind, length and id, and then a body."""

from __future__ import annotations

import struct

from braid.errors import BadPacket
from braid.messages import BAD_LENGTH, BAD_VERSION, SHORT

VERSION = 1
MOST_WHOLE = 17_000
"""Bytes of a message."""
_HEAD = struct.Struct("!BBH16s")
HEAD = _HEAD.size


def wrap(kind: int, id_: bytes, body: bytes) -> bytes:
    """A message of this shape. Raises ``ValueError`` if it is too long."""
    length = _HEAD.size + len(body)
    if length > MOST_WHOLE:
        raise ValueError(f"a message of {length} bytes: at most {MOST_WHOLE} fit")
    return _HEAD.pack(VERSION, kind, length, id_) + body


def unwrap(data: bytes) -> tuple[int, bytes, bytes]:
    """Kind, id and body of what ``wrap`` made. Raises ``BadPacket`` and nothing else."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length, id_ = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MOST_WHOLE:
        raise BadPacket(BAD_LENGTH)
    return kind, id_, data[_HEAD.size :]
