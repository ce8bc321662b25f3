"""How far a transferred connection has come, for whoever goes on when its content proxy is gone. Pure.

The proxy tells its gateway of each answer as it begins, until the gateway says HEARD; the edge, which sees the client's
and the proxy's acknowledgements pass, adds to STEERED what it saw when the connection comes back from a node. Integers
are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 (= 28, PROMISED) | 2 length 2 (of the whole message) | 4 id 16
    20 first 4 | 24 request end 4 | 28 offset 8 | 36 length 8 | 44 total 8 | 52 last 1 (0 or 1)
    53 tag length 2 | 55 begin length 2 | entity tag | begin | request

     0 version 1 (= 1) | 1 kind 1 (= 29, HEARD) | 2 length 2 (= 28) | 4 id 16 | 20 first 4 | 24 request end 4

    of STEERED: seen 1 (1 spoken | 2 client | 4 proxy) | client 4 | proxy 4; zero what was not seen
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, BAD_VERSION, SHORT

VERSION, PROMISED, HEARD = 1, 28, 29
MOST_PROMISED = 17_000
"""Bytes of a message: in parts, as the transfer protocol's."""
_HEAD = struct.Struct("!BBH16s2I3QB2H")
_HEARD = struct.Struct("!BBH16s2I")
_SEEN = struct.Struct("!B2I")


@dataclass(frozen=True, slots=True)
class Promised:
    """An answer that a proxy is sending: what goes on with it needs. Without an entity tag nobody can."""

    id: bytes
    first: int
    """Sequence number of its first byte."""
    request_end: int
    """The number behind the request."""
    begin: bytes
    """Head of the answer, and perhaps some of its body."""
    offset: int
    """Where in the whole body the rest begins."""
    length: int
    """Bytes of the rest."""
    total: int
    """Bytes of the whole body."""
    etag: bytes
    """Strong; empty where the body cannot be had again."""
    last: bool
    """The connection ends behind it."""
    request: bytes
    """Empty: the one that the transfer came with."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The gateway has that promise, or has no use for it."""

    id: bytes
    first: int
    request_end: int


@dataclass(frozen=True, slots=True)
class Seen:
    spoken: bool
    """The proxy has sent the client something."""
    client: int | None = None
    """The client has everything before this number."""
    proxy: int | None = None
    """The proxy has everything before this number, and the client knows."""


def is_promised(data: bytes) -> bool:
    return len(data) > 1 and data[1] == PROMISED


def encode_promised(promised: Promised) -> bytes:
    """ValueError when it would be too long."""
    texts = promised.etag + promised.begin + promised.request
    length = _HEAD.size + len(texts)
    if length > MOST_PROMISED:
        raise ValueError(f"a message of {length} bytes")
    numbers = promised.first, promised.request_end, promised.offset, promised.length, promised.total
    lengths = len(promised.etag), len(promised.begin)
    return _HEAD.pack(VERSION, PROMISED, length, promised.id, *numbers, promised.last, *lengths) + texts


def decode_promised(data: bytes) -> Promised:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode_promised`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, whole, id_, first, end, offset, length, total, last, tag, begin = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if kind != PROMISED:
        raise BadPacket(BAD_KIND)
    if whole != len(data) or whole > MOST_PROMISED or _HEAD.size + tag + begin > whole:
        raise BadPacket(BAD_LENGTH)
    if last > 1 or offset + length > total:
        raise BadPacket(BAD_FIELD)
    at = _HEAD.size + tag
    return Promised(
        id_, first, end, data[at : at + begin], offset, length, total, data[_HEAD.size : at], bool(last),
        data[at + begin :],
    )  # fmt: skip


def heard_of(promised: Promised) -> Heard:
    return Heard(promised.id, promised.first, promised.request_end)


def is_heard(data: bytes) -> bool:
    return len(data) > 1 and data[1] == HEARD


def encode_heard(heard: Heard) -> bytes:
    return _HEARD.pack(VERSION, HEARD, _HEARD.size, heard.id, heard.first, heard.request_end)


def decode_heard(data: bytes) -> Heard:
    """As ``decode_promised``."""
    if len(data) < _HEARD.size:
        raise BadPacket(SHORT)
    version, kind, whole, id_, first, end = _HEARD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if kind != HEARD:
        raise BadPacket(BAD_KIND)
    if whole != len(data) or whole != _HEARD.size:
        raise BadPacket(BAD_LENGTH)
    return Heard(id_, first, end)


def encode_seen(seen: Seen | None) -> bytes:
    if seen is None:
        return b""
    flags = seen.spoken | (seen.client is not None) << 1 | (seen.proxy is not None) << 2
    return _SEEN.pack(flags, seen.client or 0, seen.proxy or 0)


def decode_seen(data: bytes) -> Seen | None:
    """Raises ``BadPacket`` and nothing else."""
    if not data:
        return None
    if len(data) != _SEEN.size:
        raise BadPacket(BAD_LENGTH)
    flags, client, proxy = _SEEN.unpack(data)
    if flags > 7 or (client and not flags & 2) or (proxy and not flags & 4):
        raise BadPacket(BAD_FIELD)
    return Seen(bool(flags & 1), client if flags & 2 else None, proxy if flags & 4 else None)
