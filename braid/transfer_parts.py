"""Messages of the transfer protocol that are longer than a control message, in parts. Pure.

A request carries what was held of its client's bytes: a ClientHello with post-quantum key shares has 2,000 of them.
Parts may be lost, come twice and overtake each other, as messages may; the whole is sent again as a whole.

::

     0 version 1 (= 1) | 1 kind 1 (= 27) | 2 length 2 (of this message) | 4 id 16 | 20 kind of the whole 1
    21 part 1 (from 0 on) | 22 parts 1 (2..16) | 23 CRC-32 of the whole 4 | 27 bytes

Every part but the last fills its message.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from zlib import crc32

from braid.entrusted import ENTRUST
from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_LENGTH, BAD_VERSION, MAX_MESSAGE, SHORT
from braid.outdated import OUTDATED
from braid.transfer import ID, REQUEST, RETURN
from braid.transfer_progress import PROMISED
from braid.transfer_shape import MOST_WHOLE, VERSION

PART = 27
PATIENCE = 1.0
"""Seconds in which the rest of a message has to come: by then it was sent again, or is of no use any more."""
MOST_GATHERED = 64
"""Messages of one node that lack parts at one time; of more the oldest goes."""
_HEAD = struct.Struct("!BBH16s3BI")
_ROOM = MAX_MESSAGE - _HEAD.size
_MOST_PARTS = -(-MOST_WHOLE // _ROOM)
_DIVISIBLE = (REQUEST, RETURN, PROMISED, OUTDATED, ENTRUST)

Key = tuple[bytes, int, int, int]
"""Id, kind of the whole, parts, CRC: of two wholes about one transfer no parts are mixed."""


def split(message: bytes) -> tuple[bytes, ...]:
    """A message of the transfer protocol as control messages."""
    if len(message) <= MAX_MESSAGE:
        return (message,)
    pieces = [message[at : at + _ROOM] for at in range(0, len(message), _ROOM)]
    kind, id_, crc = message[1], message[4 : 4 + ID], crc32(message)
    return tuple(
        _HEAD.pack(VERSION, PART, _HEAD.size + len(piece), id_, kind, index, len(pieces), crc) + piece
        for index, piece in enumerate(pieces)
    )


@dataclass(slots=True)
class _Gathered:
    until: float
    parts: dict[int, bytes] = field(default_factory=dict)


class Assembler:
    def __init__(self) -> None:
        self._of: dict[int, dict[Key, _Gathered]] = {}
        """By node; the oldest first."""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def receive(self, peer: int, data: bytes, now: float) -> bytes | None:
        """A message that is whole now; what is no part is whole at once. BadPacket for a part that ``split`` has not
        made. That a whole is what its parts say ``transfer.decode`` has to see."""
        if not is_part(data):
            return data
        key, index, piece = _decode(data)
        gathering = self._of.setdefault(peer, {})
        for old in [each for each, gathered in gathering.items() if gathered.until <= now]:
            del gathering[old]
        gathered = gathering.get(key)
        if gathered is None:
            if len(gathering) >= MOST_GATHERED:
                del gathering[next(iter(gathering))]
            gathered = gathering[key] = _Gathered(now + PATIENCE)
        gathered.parts[index] = piece
        _, kind, parts, crc = key
        if len(gathered.parts) < parts:
            return None
        del gathering[key]
        whole = b"".join(gathered.parts[each] for each in range(parts))
        if crc32(whole) != crc or whole[1] != kind or whole[4 : 4 + ID] != key[0]:
            raise BadPacket(BAD_FIELD)
        return whole


def is_part(data: bytes) -> bool:
    """Whether a control message is one of these, good or not."""
    return len(data) > 1 and data[1] == PART


def _decode(data: bytes) -> tuple[Key, int, bytes]:
    if len(data) <= _HEAD.size:
        raise BadPacket(SHORT)
    version, _, length, id_, kind, index, parts, crc = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MAX_MESSAGE or (index < parts - 1 and length != MAX_MESSAGE):
        raise BadPacket(BAD_LENGTH)
    if kind not in _DIVISIBLE or not 2 <= parts <= _MOST_PARTS or index >= parts:
        raise BadPacket(BAD_FIELD)
    return (id_, kind, parts, crc), index, data[_HEAD.size :]
