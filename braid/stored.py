"""What a content proxy stores and would serve, told to gateways, so that they do not offer it what it would refuse; and
what they would have offered. Control messages as those of ``braid.transfer``, typed, versioned, decoded once.
Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 body

    32 STORED   4 order 4 | 8 page (one or more): number 1 (0..127) | size 1 (0, or 5..10) | bits 2^size (0: none)
    33 WANTED   4 client port 2 | 6 VIP port 2 | 8 version 1 (4 or 6) | 9 client 4 or 16 | VIP 4 or 16 | request

What is stored is told as Bloom filters, one for each of 128 pages among which the keys are spread by their hash. A page
is told whole, so one that is lost, or comes twice, needs no answer: it is told again in its turn. Its size follows the
number of its keys, so that of a hundred keys that are not stored about one seems to be; a page of its largest size
tells more of them wrongly from 820 keys on. Of two messages the one with the later order counts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, BAD_VERSION, MAX_MESSAGE, SHORT
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
STORED, WANTED = 32, 33
PAGES = 128
_LEAST_SIZE, _MOST_SIZE = 5, 10
"""Of a page's bits: the binary logarithm of bytes."""
_BITS_PER_KEY = 10
_HEAD = struct.Struct("!BBH")
_ORDER = struct.Struct("!I")
_WANTED = struct.Struct("!HHB")
_MARK = struct.Struct("!B5H")
"""Of a key's hash: its page, and where in the page's bits."""
_NAME = 8
"""Bytes of it that tell a key from others."""
MOST_PAGES = MAX_MESSAGE - _HEAD.size - _ORDER.size
"""Bytes of pages in one message."""

MOST_WANTED = MAX_MESSAGE - _HEAD.size - _WANTED.size - 32
"""Bytes of a request."""

Mark = tuple[int, ...]
"""A key as its page knows it: where its bits are."""


@dataclass(frozen=True, slots=True)
class Page:
    number: int
    bits: bytes

    def has(self, mark: Mark) -> bool:
        """False: not stored. True: stored, most likely."""
        bits, last = self.bits, len(self.bits) * 8 - 1
        if not bits:
            return False
        # A client waits: a loop is quicker than ``all`` of a generator.
        for at in mark:  # noqa: SIM110
            if not bits[(at & last) >> 3] & 1 << (at & 7):
                return False
        return True


@dataclass(frozen=True, slots=True)
class StoredPages:
    order: int
    """32 bits that wrap; each message of a proxy has a later one."""
    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A client's request for what is not stored, which the origin serves."""

    client: SocketAddress
    vip: SocketAddress
    request: bytes


def place(key: str) -> tuple[int, Mark]:
    """The page of a key, and its mark there."""
    page, *mark = _MARK.unpack(_hash(key))
    return page % PAGES, tuple(mark)


def name(key: str) -> bytes:
    """A key in short, as the data thread of its proxy knows it (``dataplane/core/src/refusing.rs``)."""
    return _hash(key)[:_NAME]


def octets(key: str) -> bytes:
    return key.encode("latin-1", "replace")


def _hash(key: str) -> bytes:
    return blake2b(octets(key), digest_size=_MARK.size).digest()


def make_page(number: int, marks: Iterable[Mark], count: int) -> Page:
    """``count``: of the marks."""
    if not count:
        return Page(number, b"")
    size = min(max((count * _BITS_PER_KEY // 8).bit_length(), _LEAST_SIZE), _MOST_SIZE)
    bits = bytearray(1 << size)
    last = len(bits) * 8 - 1
    for mark in marks:
        for at in mark:
            bits[(at & last) >> 3] |= 1 << (at & 7)
    return Page(number, bytes(bits))


def pack(pages: Iterable[Page], order: int) -> list[StoredPages]:
    """Messages that fit, with the orders from ``order`` on."""
    parts: list[list[Page]] = []
    room = 0
    for page in pages:
        if 2 + len(page.bits) > room:
            parts.append([])
            room = MOST_PAGES
        parts[-1].append(page)
        room -= 2 + len(page.bits)
    return [StoredPages((order + index) % (1 << 32), tuple(part)) for index, part in enumerate(parts)]


def encode(message: StoredPages | Wanted) -> bytes:
    """Raises ``ValueError`` when it would be too long, or a field is out of range."""
    if isinstance(message, StoredPages):
        kind, body = STORED, _ORDER.pack(message.order) + b"".join(_encoded(page) for page in message.pages)
    else:
        kind, (client, vip) = WANTED, (message.client, message.vip)
        if client.host.version != vip.host.version:
            raise ValueError("client and VIP are of two families")
        body = _WANTED.pack(client.port, vip.port, client.host.version)
        body += client.host.packed + vip.host.packed + message.request
    length = _HEAD.size + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"{type(message).__name__} of {length} bytes: at most {MAX_MESSAGE} fit")
    return _HEAD.pack(VERSION, kind, length) + body


def _encoded(page: Page) -> bytes:
    return bytes([page.number, len(page.bits).bit_length() - 1 if page.bits else 0]) + page.bits


def decode(data: bytes) -> StoredPages | Wanted:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    if len(data) < _HEAD.size:
        raise BadPacket(SHORT)
    version, kind, length = _HEAD.unpack_from(data)
    if version != VERSION:
        raise BadPacket(BAD_VERSION)
    if length != len(data) or length > MAX_MESSAGE:
        raise BadPacket(BAD_LENGTH)
    if kind == STORED:
        return _stored(data[_HEAD.size :])
    if kind == WANTED:
        return _wanted(data[_HEAD.size :])
    raise BadPacket(BAD_KIND)


def _stored(body: bytes) -> StoredPages:
    if len(body) <= _ORDER.size:
        raise BadPacket(SHORT)
    (order,), at = _ORDER.unpack_from(body), _ORDER.size
    pages: list[Page] = []
    while at < len(body):
        number, *size = body[at : at + 2]
        if not size:
            raise BadPacket(SHORT)
        if number >= PAGES or (size[0] and not _LEAST_SIZE <= size[0] <= _MOST_SIZE):
            raise BadPacket(BAD_FIELD)
        at += 2
        count = 1 << size[0] if size[0] else 0
        if at + count > len(body):
            raise BadPacket(SHORT)
        pages.append(Page(number, body[at : at + count]))
        at += count
    return StoredPages(order, tuple(pages))


def _wanted(body: bytes) -> Wanted:
    if len(body) < _WANTED.size:
        raise BadPacket(SHORT)
    client_port, port, version = _WANTED.unpack_from(body)
    if version not in (4, 6):
        raise BadPacket(BAD_FIELD)
    host, size = (IPv4Address, 4) if version == 4 else (IPv6Address, 16)
    ends, request = body[_WANTED.size : _WANTED.size + 2 * size], body[_WANTED.size + 2 * size :]
    if len(ends) != 2 * size:
        raise BadPacket(SHORT)
    client, vip = host(ends[:size]), host(ends[size:])
    return Wanted(SocketAddress(client, client_port), SocketAddress(vip, port), request)


def is_stored(data: bytes) -> bool:
    """Whether a control message is one of these, good or not."""
    return len(data) > 1 and STORED <= data[1] <= WANTED
