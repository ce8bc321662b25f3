"""Messages by which the live flows of one gateway go to another of its region, and edges follow: typed, decoded once.

They are control messages and travel inside sessions, so they are authentic and never come twice; they may be lost and
overtake each other. ``id`` is that of the drain; whatever is sent again means the same. Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 id 8 | 12 body

    40 LEASE     12 phase 1 | 13 shards 1 | 14 flags 1 | 15 count 1 | count x pool: version 1 (4 or 6) | prefix length 1
                 | address 4 or 16
    41 LEASED    12 phase 1 | 13 verdict 1 | 14 flags 1
    42 FLOWS     12 number 4 | 16 shard 1 | 17 a piece of flows
    43 HAVE      12 number 4 | 16 new 2 | 18 again 2 | 20 refused 2
    44 DIVERT    12 order 4 | 16 to 2 (0: nowhere else) | 18 count 1 | count x application that stays: length 1 | name
    45 DIVERTED  12 order 4

What is in a piece of flows only the core knows (``dataplane/core/src/role/sibling.rs``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, BAD_VERSION, MAX_MESSAGE, SHORT

if TYPE_CHECKING:
    from topology.model import IPNetwork

VERSION = 1
LEASE, LEASED, FLOWS, HAVE, DIVERT, DIVERTED = range(40, 46)
ID = 8

_HEAD = struct.Struct("!BBH8s")
_LEASE = struct.Struct("!4B")
_LEASED = struct.Struct("!3B")
_FLOWS = struct.Struct("!IB")
_HAVE = struct.Struct("!I3H")
_DIVERT = struct.Struct("!IHB")
_DIVERTED = struct.Struct("!I")


class Phase(IntEnum):
    """How far a lease of a gateway's flows is. The lender says; the other one follows."""

    COPYING = 1
    """Flows are told, and both gateways serve them."""
    ANNOUNCED = 2
    """The pools are to be answered for by the other one, too."""
    AWAY = 3
    """All is there."""
    RETURNING = 4
    """The flows are to be told back."""
    RETURNED = 5
    """The lender answers for its pools again."""
    ENDED = 6


class Verdict(IntEnum):
    GOOD = 0
    REGION = 1
    SHARDS = 2
    LEAVING = 3
    """It is being drained itself."""
    OFF_LINK = 4
    """No network of its has the pools."""
    CROWDED = 5
    """It serves the flows of another gateway."""


@dataclass(frozen=True, slots=True)
class Lease:
    id: bytes
    phase: Phase
    shards: int
    routed: bool
    """The network takes the pools to whoever announces them: they need not be on a link."""
    asks: bool
    """The lender still has flows."""
    pools: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class Leased:
    id: bytes
    phase: Phase
    verdict: Verdict
    told: bool
    """Of RETURNING and RETURNED: all flows were told since that began, and none was used since the last look."""


@dataclass(frozen=True, slots=True)
class Flows:
    id: bytes
    number: int
    shard: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class Have:
    id: bytes
    number: int
    new: int
    again: int
    refused: int


@dataclass(frozen=True, slots=True)
class Divert:
    id: bytes
    order: int
    to: int
    """Number of the gateway that serves the sender's clients; 0: the sender."""
    stay: tuple[str, ...]
    """Applications that this is not about."""


@dataclass(frozen=True, slots=True)
class Diverted:
    id: bytes
    order: int


Move = Lease | Leased | Flows | Have | Divert | Diverted


def is_move(data: bytes) -> bool:
    return len(data) > 1 and LEASE <= data[1] <= DIVERTED


def encode(message: Move) -> bytes:
    """ValueError when it is longer than ``MAX_MESSAGE``, or a number out of range."""
    try:
        kind, body = _body(message)
    except struct.error as error:
        raise ValueError(f"{message}: {error}") from error
    length = _HEAD.size + len(body)
    if length > MAX_MESSAGE or len(message.id) != ID:
        raise ValueError(f"{type(message).__name__} of {length} bytes: at most {MAX_MESSAGE} fit")
    return _HEAD.pack(VERSION, kind, length, message.id) + body


def _body(message: Move) -> tuple[int, bytes]:
    match message:
        case Lease(_, phase, shards, routed, asks, pools):
            packed = b"".join(_pool(pool) for pool in pools)
            return LEASE, _LEASE.pack(phase, shards, routed | asks << 1, len(pools)) + packed
        case Leased(_, phase, verdict, told):
            return LEASED, _LEASED.pack(phase, verdict, told)
        case Flows(_, number, shard, piece):
            return FLOWS, _FLOWS.pack(number, shard) + piece
        case Have(_, number, new, again, refused):
            return HAVE, _HAVE.pack(number, new, again, refused)
        case Divert(_, order, to, stay):
            names = b"".join(bytes([len(name)]) + name.encode("ascii") for name in stay)
            return DIVERT, _DIVERT.pack(order, to, len(stay)) + names
        case Diverted(_, order):
            return DIVERTED, _DIVERTED.pack(order)


def _pool(pool: IPNetwork) -> bytes:
    return bytes([pool.version, pool.prefixlen]) + pool.network_address.packed


def decode(data: bytes) -> Move:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length, ident = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MAX_MESSAGE:
        raise BadPacket(BAD_LENGTH)
    body = data[_HEAD.size :]
    match kind:
        case 40:
            return _lease(ident, body)
        case 41:
            phase, verdict, flags = _exact(_LEASED, body)
            if flags > 1 or verdict > max(Verdict) or not min(Phase) <= phase <= max(Phase):
                raise BadPacket(BAD_FIELD)
            return Leased(ident, Phase(phase), Verdict(verdict), bool(flags))
        case 42:
            if len(body) < _FLOWS.size:
                raise BadPacket(SHORT)
            number, shard = _FLOWS.unpack_from(body)
            return Flows(ident, number, shard, body[_FLOWS.size :])
        case 43:
            return Have(ident, *_exact(_HAVE, body))
        case 44:
            return _divert(ident, body)
        case 45:
            return Diverted(ident, *_exact(_DIVERTED, body))
        case _:
            raise BadPacket(BAD_KIND)


def _exact(shape: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) != shape.size:
        raise BadPacket(BAD_LENGTH if len(body) > shape.size else SHORT)
    return shape.unpack(body)


def _lease(ident: bytes, body: bytes) -> Lease:
    if len(body) < _LEASE.size:
        raise BadPacket(SHORT)
    phase, shards, flags, count = _LEASE.unpack_from(body)
    if flags > 3 or not min(Phase) <= phase <= max(Phase):
        raise BadPacket(BAD_FIELD)
    pools: list[IPNetwork] = []
    offset = _LEASE.size
    for _ in range(count):
        if offset + 2 > len(body):
            raise BadPacket(SHORT)
        version, prefix = body[offset : offset + 2]
        if version not in (4, 6):
            raise BadPacket(BAD_FIELD)
        end = offset + 2 + (16 if version == 6 else 4)
        if end > len(body):
            raise BadPacket(SHORT)
        try:
            address = body[offset + 2 : end]
            pools.append(IPv6Network((address, prefix)) if version == 6 else IPv4Network((address, prefix)))
        except ValueError:
            raise BadPacket(BAD_FIELD) from None
        offset = end
    if offset != len(body):
        raise BadPacket(BAD_LENGTH)
    return Lease(ident, Phase(phase), shards, bool(flags & 1), bool(flags & 2), tuple(pools))


def _divert(ident: bytes, body: bytes) -> Divert:
    if len(body) < _DIVERT.size:
        raise BadPacket(SHORT)
    order, to, count = _DIVERT.unpack_from(body)
    names: list[str] = []
    offset = _DIVERT.size
    for _ in range(count):
        if offset >= len(body) or offset + 1 + body[offset] > len(body):
            raise BadPacket(SHORT)
        name = body[offset + 1 : offset + 1 + body[offset]]
        if not name.isascii():
            raise BadPacket(BAD_FIELD)
        names.append(name.decode("ascii"))
        offset += 1 + len(name)
    if offset != len(body):
        raise BadPacket(BAD_LENGTH)
    return Divert(ident, order, to, tuple(names))
