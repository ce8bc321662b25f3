"""What the keeper and its worker tell each other, one message a datagram, on a socket pair that keeps order. Pure.

::

     0 kind 1 | 1 length of the values 4 | 5 values: a JSON list, in the order of the fields | data

Descriptors travel beside a message. The keeper takes nothing that a worker says for more than it is: the worker reads
what strangers send.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from braid.errors import BadPacket
from content.carry import Answering, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 180_000
"""Bytes of a message; what the kernel lets a socket pair carry in any case."""
MOST_BEGIN = 65_536
"""Of an answer's beginning."""
FORK, PID = b"fork", struct.Struct("!I")
"""What the fork server is asked for, with so many descriptors as a worker has channels, and its answer."""
CHANNELS = 5
_HEAD = struct.Struct("!BI")


@dataclass(frozen=True, slots=True)
class Configure:
    """To the worker, first of all and at each reload. With a descriptor of the topology."""

    node: str
    topology_file: str
    """Empty: there is none."""


@dataclass(frozen=True, slots=True)
class Take:
    """To the worker: serve this connection. With its descriptor. A ``Told`` came before it if it has to go on."""

    id: int
    client: str
    """Address."""
    listener: int
    """What has accepted it: 0 one for clear text, 1 one for TLS; -1: it was transferred, and ``data`` is what the
    worker before knew of that."""
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Mail:
    """To the worker: a control message of a neighbour, or a peer."""

    peer: int
    adjacent: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Neighbour:
    """To the worker: a session began or ceased to work."""

    number: int
    up: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """To the worker: end what may be ended now."""


@dataclass(frozen=True, slots=True)
class Done:
    """To the worker, whose question waits for it."""

    ok: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """To the keeper: the store is read, connections may come."""


@dataclass(frozen=True, slots=True)
class Failed:
    """To the keeper: the worker cannot start on this host; the text names the remedy."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Own:
    """To the keeper, which is asked: whose packets of a connection are, as ``NodeHandle.set_owner``. What need not be
    waited for goes by the line (``content.line``)."""

    client: str
    vip: str
    owner: str


@dataclass(frozen=True, slots=True)
class Keep:
    """To the keeper: a transferred connection. With its descriptor."""

    id: int
    client: str
    """Address and port."""
    vip: str
    read: int
    """Bytes, as the kernel counted them (``braid.tcp.progress``) before it could emit: when this is heard it may have
    sent some."""
    written: int
    data: bytes
    """Comes back with ``Take``."""


@dataclass(frozen=True, slots=True)
class Know:
    """To the keeper: what comes back with ``Take`` from now on, of a connection that it keeps."""

    id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What is being sent; with a descriptor where its source is a file. To the keeper before the first byte; to the
    worker, for a connection that goes on. One for each answer, so its picture is its own::

        0 kind 1 | 1 id 8 | 9 read 8 | 17 request 8 | 25 written 8 | 33 offset 8 | 41 length 8 | 49 total 8
        57 source 1 | 58 last 1 | 59 length of the tag 2 | 61 entity tag | begin
    """

    id: int
    answering: Answering


@dataclass(frozen=True, slots=True)
class Settled:
    """To the keeper: what was told last is over, and the next request may be read."""

    id: int


@dataclass(frozen=True, slots=True)
class Ended:
    """To the keeper: the worker has done with this connection."""

    id: int


@dataclass(frozen=True, slots=True)
class Shown:
    """To the keeper each second, as a sign of life: the worker's part of the status, in JSON."""

    data: bytes


Word = (
    Configure | Take | Mail | Neighbour | Drain | Done
    | Ready | Failed | Own | Keep | Told | Settled | Ended | Shown | Know
)  # fmt: skip
_KINDS: tuple[Any, ...] = Word.__args__
_NUMBERS = {kind: number for number, kind in enumerate(_KINDS)}
_TOLD = struct.Struct("!B7QBBH")
_SOURCES = tuple(Source)
_TYPES = {"int": int, "str": str, "bool": bool}
_FIELDS: tuple[Sequence[tuple[str, type]], ...] = tuple(
    [(each.name, _TYPES[str(each.type)]) for each in fields(kind) if each.name != "data" and kind is not Told]
    for kind in _KINDS
)
_DATA = tuple(any(each.name == "data" for each in fields(kind)) for kind in _KINDS)


def encode(word: Word) -> bytes:
    """A ``Told`` with a tag of more than 65,535 bytes cannot be."""
    number = _NUMBERS[type(word)]
    if isinstance(word, Told):
        told = word.answering
        numbers = told.read, told.request, told.written, told.offset, told.length, told.total
        source = _SOURCES.index(told.source)
        return _TOLD.pack(number, word.id, *numbers, source, told.last, len(told.etag)) + told.etag + told.begin
    values = json.dumps([getattr(word, name) for name, _ in _FIELDS[number]]).encode()
    return _HEAD.pack(number, len(values)) + values + getattr(word, "data", b"")


def decode(message: bytes) -> Word:
    """Raises ``BadPacket`` and nothing else."""
    if len(message) < _HEAD.size:
        raise BadPacket("word_length")
    if message[0] == _NUMBERS[Told]:
        return _told(message)
    number, length = _HEAD.unpack_from(message)
    if number >= len(_KINDS) or _HEAD.size + length > len(message):
        raise BadPacket("word_length")
    try:
        values = json.loads(message[_HEAD.size : _HEAD.size + length])
    except (ValueError, RecursionError):
        raise BadPacket("word_values") from None
    known = _FIELDS[number]
    if not isinstance(values, list) or len(values) != len(known):
        raise BadPacket("word_values")
    if any(type(value) is not kind for value, (_, kind) in zip(values, known, strict=True)):
        raise BadPacket("word_values")
    data = message[_HEAD.size + length :]
    if _DATA[number]:
        values.append(data)
    elif data:
        raise BadPacket("word_length")
    word: Word = _KINDS[number](*values)
    return word


def _told(message: bytes) -> Told:
    if len(message) < _TOLD.size:
        raise BadPacket("told_length")
    _, id_, read, request, written, offset, length, total, source, last, tag = _TOLD.unpack_from(message)
    begin = _TOLD.size + tag
    if source >= len(_SOURCES) or last > 1 or not 0 <= len(message) - begin <= MOST_BEGIN:
        raise BadPacket("told_field")
    etag = message[_TOLD.size : begin]
    return Told(
        id_,
        Answering(
            read, request, written, message[begin:], _SOURCES[source], offset, length, total, etag, last=bool(last)
        ),
    )  # fmt: skip
