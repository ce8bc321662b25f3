"""``TcpRecord``: all that the other end of a TCP connection can tell about this one. Pure.

Client session record #2 is one, with ISNs and state variables from record #1 of the fast path; so is what a socket is
frozen to, here or for another host.

```
version 1 | flags 1 | mss 2 | send scale 1 | receive scale 1 | local port 2 | remote port 2
| local address 4 or 16 | remote address 4 or 16 | send next 4 | receive next 4 | timestamp 4
| window: update 4, send 4, most 4, receive 4, edge from 4
| lengths of the three queues 4 each | unread | unacknowledged | unsent
```

Numbers are in network byte order. Flags: 1 IPv6, 2 window scales, 4 SACK, 8 timestamps; what is not there is zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from braid.errors import BadPacket
from topology.model import SocketAddress

VERSION = 1
MOST_QUEUE = 16 << 20
"""Bytes of each queue that a record may carry."""
MOST_SCALE = 14
_V6, _SCALES, _SACK, _TIMESTAMPS = 1, 2, 4, 8
_HEAD = struct.Struct("!BBHBBHH")
_ADDRESSES = {False: struct.Struct("!4s4s"), True: struct.Struct("!16s16s")}
_NUMBERS = struct.Struct("!3I5I3I")
_MODULUS = 1 << 32


@dataclass(frozen=True, slots=True)
class Window:
    """The kernel's ``struct tcp_repair_window`` (linux/tcp.h), in bytes."""

    update: int
    """Sequence number of the segment that the send window was last taken from."""
    send: int
    most: int
    """Largest send window that the peer ever opened."""
    receive: int
    edge_from: int
    """What ``receive`` counts from: the last number that was acknowledged to the peer."""


@dataclass(frozen=True, slots=True)
class TcpRecord:
    local: SocketAddress
    remote: SocketAddress
    send_next: int
    """Behind the last byte of the send queue, unsent ones included."""
    receive_next: int
    """Behind the last byte that came; those of ``unread`` are before it."""
    mss: int
    """What the peer asked for; with timestamps a segment carries 12 bytes less."""
    scales: tuple[int, int] | None
    """For windows of the peer, and for ours. None: not negotiated."""
    sack: bool
    timestamp: int | None
    """At least as high as every one that was sent, in milliseconds. None: not negotiated."""
    window: Window
    unread: bytes = b""
    """Acknowledged, but not read yet."""
    unacknowledged: bytes = b""
    unsent: bytes = b""

    def after(self, milliseconds: int) -> TcpRecord:
        """The same so much later: a peer takes segments with a clock that went back for old ones (RFC 7323 5)."""
        if self.timestamp is None:
            return self
        return replace(self, timestamp=(self.timestamp + milliseconds) % _MODULUS)

    def with_unread(self, unread: bytes) -> TcpRecord:
        """The same with other bytes that came and were not read, up to the same number."""
        return replace(self, unread=unread)

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way, as far as this end knows."""
        return not (self.unread or self.unacknowledged or self.unsent)


@dataclass(frozen=True, slots=True)
class Ends:
    """What a record says first."""

    local: SocketAddress
    remote: SocketAddress
    mss: int
    timestamps: bool


def decode_ends(data: bytes) -> Ends:
    """BadPacket where there is no record's beginning; what follows may still be none."""
    try:
        version, flags, mss, _, _, local_port, remote_port = _HEAD.unpack_from(data)
        local, remote = _ADDRESSES[bool(flags & _V6)].unpack_from(data, _HEAD.size)
    except struct.error:
        raise BadPacket("record_truncated") from None
    if version != VERSION:
        raise BadPacket("record_version")
    host = IPv6Address if flags & _V6 else IPv4Address
    ends = SocketAddress(host(local), local_port), SocketAddress(host(remote), remote_port)
    return Ends(*ends, mss, bool(flags & _TIMESTAMPS))


def first_numbers(data: bytes) -> tuple[int, int]:
    """Of the first byte to send and the first to read of what a record carries. BadPacket where there is no record's
    beginning."""
    try:
        _, flags, *_ = _HEAD.unpack_from(data)
        numbers = _NUMBERS.unpack_from(data, _HEAD.size + _ADDRESSES[bool(flags & _V6)].size)
    except struct.error:
        raise BadPacket("record_truncated") from None
    send_next, receive_next, unread, unacknowledged, unsent = *numbers[:2], *numbers[-3:]
    return (send_next - unacknowledged - unsent) % _MODULUS, (receive_next - unread) % _MODULUS


def encode_record(record: TcpRecord) -> bytes:
    v6 = record.local.host.version == 6
    send_scale, receive_scale = record.scales or (0, 0)
    flags = v6 * _V6 | (record.scales is not None) * _SCALES | record.sack * _SACK
    flags |= (record.timestamp is not None) * _TIMESTAMPS
    window, queues = record.window, (record.unread, record.unacknowledged, record.unsent)
    ports = record.local.port, record.remote.port
    return b"".join(
        (
            _HEAD.pack(VERSION, flags, record.mss, send_scale, receive_scale, *ports),
            record.local.host.packed,
            record.remote.host.packed,
            _NUMBERS.pack(
                record.send_next,
                record.receive_next,
                record.timestamp or 0,
                window.update,
                window.send,
                window.most,
                window.receive,
                window.edge_from,
                *map(len, queues),
            ),
            *queues,
        )
    )


def decode_record(data: bytes) -> TcpRecord:
    """BadPacket for anything that no ``encode_record`` has made."""
    try:
        version, flags, mss, send_scale, receive_scale, local_port, remote_port = _HEAD.unpack_from(data)
        addresses = _ADDRESSES[bool(flags & _V6)]
        local, remote = addresses.unpack_from(data, _HEAD.size)
        at = _HEAD.size + addresses.size
        send_next, receive_next, timestamp, *rest = _NUMBERS.unpack_from(data, at)
    except struct.error:
        raise BadPacket("record_truncated") from None
    if version != VERSION:
        raise BadPacket("record_version")
    if flags & ~(_V6 | _SCALES | _SACK | _TIMESTAMPS):
        raise BadPacket("record_flags")
    if max(send_scale, receive_scale) > (MOST_SCALE if flags & _SCALES else 0):
        raise BadPacket("record_scale")
    if timestamp and not flags & _TIMESTAMPS:
        raise BadPacket("record_timestamp")
    window, lengths = rest[:5], rest[5:]
    at += _NUMBERS.size
    if max(lengths) > MOST_QUEUE or at + sum(lengths) != len(data):
        raise BadPacket("record_length")
    queues = []
    for length in lengths:
        queues.append(data[at : at + length])
        at += length
    host = IPv6Address if flags & _V6 else IPv4Address
    return TcpRecord(
        SocketAddress(host(local), local_port),
        SocketAddress(host(remote), remote_port),
        send_next,
        receive_next,
        mss,
        (send_scale, receive_scale) if flags & _SCALES else None,
        bool(flags & _SACK),
        timestamp if flags & _TIMESTAMPS else None,
        Window(*window),
        *queues,
    )
