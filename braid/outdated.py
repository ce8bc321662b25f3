"""What content proxies must not serve any more: an unsafe request for it has succeeded by way of a gateway, which they
do not see (RFC 9111 4.4). Control messages as those of ``braid.transfer``, typed, versioned, decoded once. Integers are
big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 id 16

    34 OUTDATED   20 key (one byte or more, as content proxies name what they store)
    35 DROPPED    (nothing)

OUTDATED is said by the gateway until the proxy says DROPPED with its id: nothing is stored under the key then, and what
was asked for before will not be. To drop it again does no harm. A long key goes in parts (``braid.transfer_parts``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from braid.errors import BadPacket
from braid.messages import BAD_KIND, BAD_LENGTH, BAD_VERSION, SHORT

VERSION, OUTDATED, DROPPED = 1, 34, 35
ID = 16
MOST_OUTDATED = 17_000
"""Bytes of a message: in parts, as the transfer protocol's."""
_HEAD = struct.Struct("!BBH16s")


@dataclass(frozen=True, slots=True)
class Outdated:
    id: bytes
    key: str
    """In latin-1."""


@dataclass(frozen=True, slots=True)
class Dropped:
    id: bytes


def encode(message: Outdated | Dropped) -> bytes:
    """ValueError for a key that is too long, or has other characters."""
    kind, body = (OUTDATED, message.key.encode("latin-1")) if isinstance(message, Outdated) else (DROPPED, b"")
    length = _HEAD.size + len(body)
    if length > MOST_OUTDATED:
        raise ValueError(f"a message of {length} bytes")
    return _HEAD.pack(VERSION, kind, length, message.id) + body


def decode(data: bytes) -> Outdated | Dropped:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length, id_ = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if kind not in (OUTDATED, DROPPED):
        raise BadPacket(BAD_KIND)
    if length != len(data) or length > MOST_OUTDATED or (length > _HEAD.size) != (kind == OUTDATED):
        raise BadPacket(BAD_LENGTH)
    return Outdated(id_, data[_HEAD.size :].decode("latin-1")) if kind == OUTDATED else Dropped(id_)


def is_outdated(data: bytes) -> bool:
    """Whether a control message is one of these, good or not."""
    return len(data) > 1 and OUTDATED <= data[1] <= DROPPED
