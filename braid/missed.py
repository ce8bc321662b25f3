"""What an edge tells gateways when it misses a content proxy, which may live and be reached by them: the connections
that it has of the edge's clients are to go on without it. A control message of their session. Pure.

::

     0 version 1 (= 1) | 1 kind 1 (= 39, MISSED) | 2 length 2 (= 6) | 4 node 2
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from braid.errors import BadPacket
from braid.messages import BAD_KIND, BAD_LENGTH, BAD_VERSION, SHORT

VERSION, MISSED = 1, 39
_MISSED = struct.Struct("!BBHH")


@dataclass(frozen=True, slots=True)
class Missed:
    node: int
    """Its number."""


def is_missed(data: bytes) -> bool:
    return len(data) > 1 and data[1] == MISSED


def encode(missed: Missed) -> bytes:
    return _MISSED.pack(VERSION, MISSED, _MISSED.size, missed.node)


def decode(data: bytes) -> Missed:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _MISSED.size:
        raise BadPacket(SHORT)
    version, kind, length, node = _MISSED.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if kind != MISSED:
        raise BadPacket(BAD_KIND)
    if length != len(data) or length != _MISSED.size:
        raise BadPacket(BAD_LENGTH)
    return Missed(node)
