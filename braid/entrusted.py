"""Messages by which a gateway that leaves entrusts its sibling with connections that content proxies have: typed,
decoded once. The sibling decides about them from then on, and the proxies speak to it.

They are control messages as those of ``braid.transfer``, between neighbours, and in parts where they are long. Integers
are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 id 16 | 20 body

    36 ENTRUST    20 proxy 2 | 22 edge 2 | 24 age 4 (ms) | 28 returns 1 (0 or 1) | 29 length of the application 1
                  | 30 length of the request 2 | application | TRANSFER_REQUEST | PROMISED, or nothing
    37 ENTRUSTED  20 done 1 (0 or 1)
    38 FOLLOW     (nothing); the proxy answers by TERMINATE, or by ABORT
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from braid import transfer
from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, SHORT
from braid.transfer import TransferRequest
from braid.transfer_progress import Promised, decode_promised, encode_promised
from braid.transfer_shape import unwrap, wrap

ENTRUST, ENTRUSTED, FOLLOW = 36, 37, 38
_ENTRUST = struct.Struct("!2HI2BH")


@dataclass(frozen=True, slots=True)
class Entrust:
    proxy: int
    """Numbers of the nodes."""
    edge: int
    age: int
    """Milliseconds since the connection left."""
    returns: bool
    """The proxy can give it back."""
    application: str
    request: TransferRequest
    """With which it left."""
    promised: Promised | None
    """What the proxy said last that it sends."""

    @property
    def id(self) -> bytes:
        return self.request.id


@dataclass(frozen=True, slots=True)
class Entrusted:
    id: bytes
    done: bool
    """False: the sender decides about it as before."""


@dataclass(frozen=True, slots=True)
class Follow:
    """To the proxy: the sender decides about this connection now."""

    id: bytes


Entrusting = Entrust | Entrusted | Follow


def is_entrusting(data: bytes) -> bool:
    return len(data) > 1 and ENTRUST <= data[1] <= FOLLOW


def encode(message: Entrusting) -> bytes:
    """ValueError when it would be too long, or a number is out of range."""
    match message:
        case Entrust(proxy, edge, age, returns, application, request, promised):
            name, asked = application.encode("ascii"), transfer.encode(request)
            begin = b"" if promised is None else encode_promised(promised)
            try:
                fixed = _ENTRUST.pack(proxy, edge, age, returns, len(name), len(asked))
            except struct.error as error:
                raise ValueError(f"ENTRUST: {error}") from error
            kind, body = ENTRUST, fixed + name + asked + begin
        case Entrusted(_, done):
            kind, body = ENTRUSTED, bytes([done])
        case Follow():
            kind, body = FOLLOW, b""
    return wrap(kind, message.id, body)


def decode(data: bytes) -> Entrusting:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    kind, id_, body = unwrap(data)
    match kind:
        case 36:
            return _entrust(id_, body)
        case 37:
            if len(body) != 1:
                raise BadPacket(BAD_LENGTH)
            if body[0] > 1:
                raise BadPacket(BAD_FIELD)
            return Entrusted(id_, body == b"\1")
        case 38:
            if body:
                raise BadPacket(BAD_LENGTH)
            return Follow(id_)
        case _:
            raise BadPacket(BAD_KIND)


def _entrust(id_: bytes, body: bytes) -> Entrust:
    if len(body) < _ENTRUST.size:
        raise BadPacket(SHORT)
    proxy, edge, age, returns, name, asked = _ENTRUST.unpack_from(body)
    at = _ENTRUST.size + name
    application, begin = body[_ENTRUST.size : at], body[at + asked :]
    if len(application) != name or returns > 1 or not application.isascii():
        raise BadPacket(BAD_FIELD)
    request = transfer.decode(body[at : at + asked])
    promised = decode_promised(begin) if begin else None
    if not isinstance(request, TransferRequest) or request.id != id_ or (promised and promised.id != id_):
        raise BadPacket(BAD_FIELD)
    return Entrust(proxy, edge, age, bool(returns), application.decode(), request, promised)
