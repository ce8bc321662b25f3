"""Messages of the connection transfer protocol, of gateways, content proxies and edges: typed, versioned, decoded once.

They are control messages and travel inside sessions, so they are authentic and never come twice; they may be lost and
overtake each other. Whatever is sent again has the same id and means the same. Integers are big-endian.

::

     0 version 1 (= 1) | 1 kind 1 | 2 length 2 (of the whole message) | 4 id 16 | 20 body

    16 TRANSFER_REQUEST  20 deadline 2 (ms) | 22 numbers 8 | 30 isn pair 8 | 38 content length 2 (1..1024)
                         40 content | record
    17 TRANSFER_ACCEPT   20 lease 2 (ms) | 22 numbers 8
    18 TRANSFER_REFUSE   20 reason 1
    19 TRANSFER_COMMIT   (nothing)
    20 TERMINATE         20 how 1 | 21 sequence 4
    21 TERMINATED        20 done 1 (0 or 1)
    22 TRANSFER_ABORT    20 reason 1
    23 RETURN            20 numbers 8 | record
    24 RETURNED          20 done 1 (0 or 1)
    25 STEER             20 order 4 | 24 node 2 (0: the gateway again; 65535: it, if the node
                         that has it is gone) | 26 client port 2 | 28 VIP port 2 | 30 client 4 or 16 | VIP 4 or 16
    26 STEERED           20 order 4 | 24 done 1 (0 or 1) | what was seen (``braid.transfer_progress``), or nothing

    numbers: next byte to send 4 | next byte to receive 4, of the connection's end at the VIP

A record is that of ``TcpRecord``, which whoever builds the socket decodes; what was held of the client's request is its
unread queue. What is longer than a control message goes in parts (``braid.transfer_parts``), what is longer than
``MOST_WHOLE`` is not transferred: the origin serves it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.messages import BAD_FIELD, BAD_KIND, BAD_LENGTH, SHORT
from braid.transfer_progress import Seen, decode_seen, encode_seen
from braid.transfer_shape import HEAD, MOST_WHOLE, unwrap, wrap
from topology.model import SocketAddress

if TYPE_CHECKING:
    from braid.tcp.record import TcpRecord

ID = 16
IF_GONE = 0xFFFF
"""In place of a node's number."""
MODULUS = 1 << 32
"""Of sequence numbers."""
MOST_CONTENT = 1024
REQUEST, ACCEPT, REFUSE, COMMIT, TERMINATE, TERMINATED, ABORT, RETURN, RETURNED, STEER, STEERED = range(16, 27)

_REQUEST = struct.Struct("!H4IH")
_ACCEPT = struct.Struct("!H2I")
_TERMINATE = struct.Struct("!BI")
_NUMBERS = struct.Struct("!2I")
_STEER = struct.Struct("!I3H")
_STEERED = struct.Struct("!I")
RESEND = 0.01
"""Seconds until a message is sent again for the first time."""
SLOWEST_RESEND = 0.16
REMEMBER = 10.0
"""Seconds for which what has ended is known, to answer what comes late."""
MOST = 10_000
"""Transfers that a node knows at one time; beyond, the origin serves."""
MOST_HELD = MOST_WHOLE - HEAD - _REQUEST.size
"""Bytes of content and record together."""


class Reason(IntEnum):
    """Why a connection is not transferred."""

    CONTENT = 1
    """It is not stored, or may not be served."""
    NOT_DELEGATED = 2
    """The proxy may build no sockets for this address or name."""
    BUSY = 3
    SOCKET = 4
    """The kernel refuses it."""
    STALE = 5
    """Too late: the deadline, the lease or the other side's patience is over."""
    MISMATCH = 6
    """The proxy's numbers are not those of the device's record."""
    DRAINING = 7
    UNKNOWN = 8
    """The id is not known, or not any more."""
    ENDED = 9
    """The client's connection is over."""
    VARIANT = 10
    """It is stored, and no answer to this request: another variant, or not fresh enough for it."""


class How(IntEnum):
    """How the server's side of the connection is to end."""

    FIN = 1
    RST = 2


@dataclass(frozen=True, slots=True)
class Numbers:
    """Sequence numbers of the connection's end at the VIP, 32 bits. ``receive_next`` is what the server expects: what
    was held of the client's request lies behind it."""

    send_next: int
    receive_next: int


def numbers_of(record: TcpRecord) -> Numbers:
    """Of a frozen socket: what its peer has not acknowledged, and what was not read, lies behind them."""
    return Numbers(
        (record.send_next - len(record.unacknowledged) - len(record.unsent)) % MODULUS,
        (record.receive_next - len(record.unread)) % MODULUS,
    )


@dataclass(frozen=True, slots=True)
class TransferRequest:
    id: bytes
    deadline: int
    """Milliseconds from now on in which an answer is of use."""
    numbers: Numbers
    isns: tuple[int, int]
    """Initial sequence numbers of the client and of our side."""
    content: bytes
    """What the client asks for: the key of the content."""
    record: bytes


@dataclass(frozen=True, slots=True)
class TransferAccept:
    """The socket is built and cannot emit yet."""

    id: bytes
    lease: int
    """Milliseconds after which it goes without a COMMIT."""
    numbers: Numbers
    """Of the socket that was built."""


@dataclass(frozen=True, slots=True)
class TransferRefuse:
    id: bytes
    reason: Reason


@dataclass(frozen=True, slots=True)
class TransferCommit:
    """Packets of the client go to the proxy from now on."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Terminate:
    """The proxy has taken over; also what a COMMIT is acknowledged by."""

    id: bytes
    how: How
    sequence: int
    """Next byte that the server expects of the client."""


@dataclass(frozen=True, slots=True)
class Terminated:
    id: bytes
    done: bool


@dataclass(frozen=True, slots=True)
class TransferAbort:
    id: bytes
    reason: Reason


@dataclass(frozen=True, slots=True)
class Return:
    """The connection goes back; the proxy's socket is frozen."""

    id: bytes
    numbers: Numbers
    record: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    id: bytes
    done: bool
    """False: the gateway cannot take it, and the proxy keeps it."""


@dataclass(frozen=True, slots=True)
class Steer:
    """To an edge: who gets the client's packets. Of two about one connection the one with the later order counts."""

    id: bytes
    order: int
    """32 bits that wrap; each thing that a gateway says has the next one."""
    node: int | None
    """None: the gateway again; ``IF_GONE``: the gateway, if the node that has the connection is gone."""
    client: SocketAddress
    vip: SocketAddress


@dataclass(frozen=True, slots=True)
class Steered:
    id: bytes
    order: int
    done: bool
    """False: the edge does not let this gateway decide, or knows neither node nor VIP."""
    seen: Seen | None = None
    """Of a connection that comes back from another node."""


@dataclass(frozen=True, slots=True)
class Send:
    """A command of the state machines on either side."""

    peer: int
    message: TransferMessage


TransferMessage = (
    TransferRequest | TransferAccept | TransferRefuse | TransferCommit | Terminate | Terminated | TransferAbort
    | Return | Returned | Steer | Steered
)  # fmt: skip


def word(kind: type[TransferMessage]) -> str:
    """A message's name in the protocol."""
    return kind.__name__.replace("Transfer", "TRANSFER_").upper()


def fits(content: bytes, record: bytes) -> bool:
    """Whether a connection with this much of its request held can be transferred."""
    return 1 <= len(content) <= MOST_CONTENT and len(content) + len(record) <= MOST_HELD


def encode(message: TransferMessage) -> bytes:
    """Raises ``ValueError`` for a field that is out of range or too long."""
    if len(message.id) != ID:
        raise ValueError(f"an id has {ID} bytes, not {len(message.id)}")
    try:
        kind, body = _body(message)
    except struct.error as error:
        raise ValueError(f"{type(message).__name__}: {error}") from error
    return wrap(kind, message.id, body)


def _body(message: TransferMessage) -> tuple[int, bytes]:
    match message:
        case TransferRequest():
            if not 1 <= len(message.content) <= MOST_CONTENT:
                raise ValueError(f"a content id has 1 to {MOST_CONTENT} bytes")
            numbers = message.numbers
            fixed = _REQUEST.pack(
                message.deadline, numbers.send_next, numbers.receive_next, *message.isns, len(message.content)
            )
            return REQUEST, fixed + message.content + message.record
        case TransferAccept():
            return ACCEPT, _ACCEPT.pack(message.lease, message.numbers.send_next, message.numbers.receive_next)
        case TransferRefuse():
            return REFUSE, bytes([message.reason])
        case TransferCommit():
            return COMMIT, b""
        case Terminate():
            return TERMINATE, _TERMINATE.pack(message.how, message.sequence)
        case Terminated():
            return TERMINATED, bytes([message.done])
        case TransferAbort():
            return ABORT, bytes([message.reason])
        case Return():
            return RETURN, _NUMBERS.pack(message.numbers.send_next, message.numbers.receive_next) + message.record
        case Returned():
            return RETURNED, bytes([message.done])
        case Steer():
            if message.client.host.version != message.vip.host.version:
                raise ValueError("client and VIP are of two families")
            fixed = _STEER.pack(message.order, message.node or 0, message.client.port, message.vip.port)
            return STEER, fixed + message.client.host.packed + message.vip.host.packed
        case Steered():
            return STEERED, _STEERED.pack(message.order) + bytes([message.done]) + encode_seen(message.seen)


def decode(data: bytes) -> TransferMessage:
    """Raises ``BadPacket`` and nothing else; every accepted input is what ``encode`` gives for the result."""
    kind, id_, body = unwrap(data)
    match kind:
        case 16:
            return _request(id_, body)
        case 17:
            lease, *numbers = _unpack(_ACCEPT, body)
            return TransferAccept(id_, lease, Numbers(*numbers))
        case 18:
            return TransferRefuse(id_, _reason(body))
        case 19:
            if body:
                raise BadPacket(BAD_LENGTH)
            return TransferCommit(id_)
        case 20:
            how, sequence = _unpack(_TERMINATE, body)
            if how not in (How.FIN, How.RST):
                raise BadPacket(BAD_FIELD)
            return Terminate(id_, How(how), sequence)
        case 21:
            return Terminated(id_, _flag(body))
        case 22:
            return TransferAbort(id_, _reason(body))
        case 23:
            if len(body) < _NUMBERS.size:
                raise BadPacket(SHORT)
            return Return(id_, Numbers(*_NUMBERS.unpack_from(body)), body[_NUMBERS.size :])
        case 24:
            return Returned(id_, _flag(body))
        case 25:
            return _steer(id_, body)
        case 26:
            if len(body) < _STEERED.size:
                raise BadPacket(SHORT)
            (order,), rest = _STEERED.unpack_from(body), body[_STEERED.size :]
            return Steered(id_, order, _flag(rest[:1]), decode_seen(rest[1:]))
        case _:
            raise BadPacket(BAD_KIND)


def _request(id_: bytes, body: bytes) -> TransferRequest:
    if len(body) < _REQUEST.size:
        raise BadPacket(SHORT)
    deadline, send_next, receive_next, client, ours, length = _REQUEST.unpack_from(body)
    content = body[_REQUEST.size : _REQUEST.size + length]
    if not 1 <= length <= MOST_CONTENT:
        raise BadPacket(BAD_FIELD)
    if len(content) != length:
        raise BadPacket(SHORT)
    record = body[_REQUEST.size + length :]
    return TransferRequest(id_, deadline, Numbers(send_next, receive_next), (client, ours), content, record)


def _steer(id_: bytes, body: bytes) -> Steer:
    size, left = len(body) - _STEER.size, body[_STEER.size :]
    if size not in (8, 32):
        raise BadPacket(BAD_LENGTH)
    order, node, client_port, port = _STEER.unpack_from(body)
    host = IPv4Address if size == 8 else IPv6Address
    client, vip = host(left[: size // 2]), host(left[size // 2 :])
    return Steer(id_, order, node or None, SocketAddress(client, client_port), SocketAddress(vip, port))


def is_later(order: int, than: int) -> bool:
    """Of 32 bits that wrap (RFC 1982)."""
    return 0 < (order - than) % (1 << 32) < 1 << 31


def is_transfer(data: bytes) -> bool:
    """Whether a control message is one of these, good or not."""
    return len(data) > 1 and REQUEST <= data[1] <= STEERED


def _unpack(shape: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) != shape.size:
        raise BadPacket(BAD_LENGTH)
    return shape.unpack(body)


def _reason(body: bytes) -> Reason:
    if len(body) != 1:
        raise BadPacket(BAD_LENGTH)
    if body[0] not in Reason.__members__.values():
        raise BadPacket(BAD_FIELD)
    return Reason(body[0])


def _flag(body: bytes) -> bool:
    if len(body) != 1:
        raise BadPacket(BAD_LENGTH)
    if body[0] > 1:
        raise BadPacket(BAD_FIELD)
    return body == b"\1"
