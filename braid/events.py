"""Everything the data plane tells the control plane, as values.

``peer`` is a node number; ``adjacent`` tells a neighbour session from an end-to-end one.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Initiation:
    """A peer wants a session. The handshake proved that it holds ``static_key``; ``certificate`` is not verified."""

    id: int
    peer: int
    adjacent: bool
    static_key: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Established:
    """Keys of ``epoch`` are confirmed and in use for sending."""

    peer: int
    adjacent: bool
    epoch: int
    initiator: bool
    boot: int
    """Of the peer's process."""


@dataclass(frozen=True, slots=True)
class Up:
    """Valid packets arrive from a peer that was silent or new."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Down:
    """Nothing valid arrived for the silence limit."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Rekey:
    """The packet limit of the current keys is near."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Control:
    """One control message, authenticated and never seen before; not decoded."""

    peer: int
    adjacent: bool
    message: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """Packets that went out on the same paths."""

    set: int | None
    """Of the application; None for probes."""
    on: frozenset[int]
    packets: int
    repaired: int
    """Of which a copy was lost, but not all."""
    all_lost: int


@dataclass(frozen=True, slots=True)
class SentOn:
    set: int
    packets: int
    copies: int
    copied_bytes: int
    """Of all copies but the first of each packet."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What became of the packets to a peer, in one shard: soon after a loss, else once a second. Paths go by id."""

    peer: int
    seconds: float
    streams: tuple[Stream, ...]
    lost: dict[int, int]
    both: dict[tuple[int, int], int]
    """Packets that came on neither of two paths, the lower id first."""
    sent: tuple[SentOn, ...] = ()
    delays: dict[int, float] = field(default_factory=dict)
    """Seconds one way, close to the longest."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The data thread ended with this message; the node must exit."""

    message: str


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A client's connection needs the stack: the fast path cannot process what it asks for."""

    connection: int
    """As it is called in commands; the same when the request is repeated."""
    client: bytes
    """Its record (``braid.tcp.record``)."""
    server: bytes | None
    """The record of the server's side, where it was spliced before."""
    held_at: float
    """When the packet came that is held until the stack has the connection, in seconds of CLOCK_BOOTTIME; 0 where
    none is held."""
    guest: bool = False
    """Whether another gateway has had it."""


@dataclass(frozen=True, slots=True)
class ConnectionHeld:
    """Nothing of a connection reaches the stack any more, as was asked for: its server has begun to send."""

    connection: int
    at: float
    """Since when, in seconds of CLOCK_BOOTTIME. A hold ends by itself."""


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """A spliced connection is over."""

    connection: int
    why: str
    bytes_in: int
    """Of its IP packets, from the client."""
    bytes_out: int


ConnectionEvent = ServiceRequest | ConnectionHeld | ConnectionEnded
CoreEvent = Initiation | Established | Up | Down | Rekey | Control | Losses | ConnectionEvent | Failed
