"""ESTABLISHED kernel sockets from records, and records from sockets, without a packet (TCP_REPAIR, ``CAP_NET_ADMIN``).

A frozen socket, and one that was built, is silent until ``start``; but it still takes packets and acknowledges them.
So whoever freezes one that is to end keeps packets from it before, and lets none through after: the stack would answer
for a connection that is no more with a reset.

The order of the options is the kernel's: window, sequence numbers and options each are taken in one state alone.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING

from braid.tcp.record import TcpRecord, Window
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/tcp.h
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_OPTIONS = 19, 20, 21, 22
TCP_TIMESTAMP, TCP_REPAIR_WINDOW = 24, 29
_ON, _OFF_WITHOUT_PROBE = 1, -1
_NO_QUEUE, _RECEIVE_QUEUE, _SEND_QUEUE = 0, 1, 2
_OPTION_MSS, _OPTION_SCALES, _OPTION_SACK, _OPTION_TIMESTAMPS = 2, 3, 4, 8
_INFO_TIMESTAMPS, _INFO_SACK, _INFO_SCALES = 1, 2, 4
_ESTABLISHED = 1
# linux/sockios.h
_SIOCINQ, _SIOCOUTQ, _SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
_TIMESTAMP_UNIT = 1
"""Lowest bit of TCP_TIMESTAMP: the clock counts microseconds. Ours count milliseconds."""
_PAIR, _WINDOW, _NUMBER = struct.Struct("=II"), struct.Struct("=5I"), struct.Struct("=I")
_MOST_MSS = 32_767
"""That TCP_MAXSEG takes."""
_LEAST_CHUNK = 1024
_ROOM = 262_144
"""Bytes of queues that fit into the kernel's own buffers in any case."""


class FreezeError(Exception):
    """The connection cannot be carried on elsewhere now; the message, a word, says why. It goes on where it is."""


def unavailable() -> str | None:
    """Why sockets cannot be built in this process on this kernel; None if they can."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            _set(probe, TCP_REPAIR, _ON)
            _set(probe, TCP_REPAIR_QUEUE, _SEND_QUEUE)
            probe.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
    except OSError as error:
        return f"TCP_REPAIR: {error.strerror}"
    return None


def transparent(family: int) -> socket.socket:
    """A non-blocking socket that may be bound to an address which is not the host's."""
    opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        opened.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
    return opened


def bound(where: SocketAddress, device: str, mss: int) -> socket.socket:
    """A socket to connect from an address that is not the host's, through a device, with segments of at most so many
    bytes; non-blocking. OSError as of bind."""
    opened = transparent(socket.AF_INET6 if where.host.version == 6 else socket.AF_INET)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        _set(opened, socket.TCP_MAXSEG, min(mss, _MOST_MSS))
        opened.bind(_name(where))
    except BaseException:
        opened.close()
        raise
    return opened


def build(record: TcpRecord, device: str = "") -> socket.socket:
    """A frozen socket that is connected as the record says, through a device; non-blocking. OSError if the kernel does
    not take it, as EADDRNOTAVAIL where the connection exists already."""
    family = socket.AF_INET6 if record.local.host.version == 6 else socket.AF_INET
    opened = transparent(family)
    try:
        queued = len(record.unread) + len(record.unacknowledged) + len(record.unsent)
        if queued > _ROOM:
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, queued)
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, queued)
        if device:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        # Before connect: the size of segments is computed there, and from 536 bytes otherwise.
        _set(opened, socket.TCP_MAXSEG, min(record.mss, _MOST_MSS))
        _set(opened, TCP_REPAIR, _ON)
        opened.bind(_name(record.local))
        _select(opened, _SEND_QUEUE)
        first = record.send_next - len(record.unsent) - len(record.unacknowledged)
        _set(opened, TCP_QUEUE_SEQ, first)
        _select(opened, _RECEIVE_QUEUE)
        _set(opened, TCP_QUEUE_SEQ, record.receive_next - len(record.unread))
        opened.connect(_name(record.remote))
        opened.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_OPTIONS, b"".join(_options(record)))
        if record.timestamp is not None:
            # Rounded up: it must not be below one that was sent.
            _set(opened, TCP_TIMESTAMP, record.timestamp + _TIMESTAMP_UNIT & ~_TIMESTAMP_UNIT)
        _fill(opened, _RECEIVE_QUEUE, record.unread)
        _fill(opened, _SEND_QUEUE, record.unacknowledged)
        _select(opened, _NO_QUEUE)
        window = record.window
        words = window.update, window.send, window.most, window.receive, window.edge_from
        opened.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, _WINDOW.pack(*words))
    except BaseException:
        opened.close()
        raise
    return opened


def start(frozen: socket.socket, unsent: bytes = b"") -> None:
    """Let it go on; ``unsent`` of its record goes out now. OSError if the kernel does not take it."""
    _set(frozen, TCP_REPAIR, _OFF_WITHOUT_PROBE)
    # The kernel forgets it with TCP_REPAIR; without it no listener could be bound beside this connection.
    frozen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    frozen.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _send(frozen, unsent)


def freeze(opened: socket.socket) -> TcpRecord:
    """The record of a non-blocking socket that is silent from now on. FreezeError, and it is not frozen: either side
    has ended, or the socket is broken."""
    try:
        _set(opened, TCP_REPAIR, _ON)
    except OSError as error:
        raise FreezeError("not_connected") from error
    try:
        return _record(opened)
    except OSError as error:
        start(opened)
        raise FreezeError(errno.errorcode.get(error.errno or 0, "failed").lower()) from error
    except FreezeError:
        start(opened)
        raise


def dissolve(opened: socket.socket) -> None:
    """Close a frozen socket, or one that is to end like that: the peer hears nothing, now or later."""
    _set(opened, TCP_REPAIR, _ON)
    opened.close()


def unacknowledged(opened: socket.socket) -> int:
    """Bytes that were sent and not acknowledged."""
    return unsettled(opened.fileno()) - _count(opened.fileno(), _SIOCOUTQNSD)


def unsettled(descriptor: int) -> int:
    """Bytes that the peer has not acknowledged, whether sent or not."""
    return _count(descriptor, _SIOCOUTQ)


def unread(descriptor: int) -> int:
    """Bytes that came and were not read."""
    return _count(descriptor, _SIOCINQ)


def _record(frozen: socket.socket) -> TcpRecord:
    information = frozen.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    state, options, scales = information[0], information[5], information[6]
    if state != _ESTABLISHED:
        raise FreezeError("half_closed")
    local, remote = frozen.getsockname(), frozen.getpeername()
    window = _WINDOW.unpack(frozen.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, _WINDOW.size))
    _select(frozen, _RECEIVE_QUEUE)
    receive_next, waiting = _get(frozen, TCP_QUEUE_SEQ), _peek(frozen, unread(frozen.fileno()))
    # With that queue selected the kernel counts bytes as sent when it would send them (its pacing timer, a packet that
    # left the device), and sends none. So they are counted before; what goes out in between is taken for unsent, and
    # goes out twice.
    unsent = _count(frozen.fileno(), _SIOCOUTQNSD)
    _select(frozen, _SEND_QUEUE)
    queued = unsettled(frozen.fileno())
    unsent = min(unsent, queued)
    send_next, sending = _get(frozen, TCP_QUEUE_SEQ), _peek(frozen, queued)
    timestamp = None
    if options & _INFO_TIMESTAMPS:
        # Not below that of any packet.
        timestamp = _get(frozen, TCP_TIMESTAMP)
        if timestamp & _TIMESTAMP_UNIT:
            raise FreezeError("microseconds")
    return TcpRecord(
        SocketAddress(ip_address(local[0]), local[1]),
        SocketAddress(ip_address(remote[0]), remote[1]),
        send_next,
        receive_next,
        _get(frozen, socket.TCP_MAXSEG),
        (scales & 15, scales >> 4) if options & _INFO_SCALES else None,
        bool(options & _INFO_SACK),
        timestamp,
        Window(*window),
        waiting,
        sending[: queued - unsent],
        sending[queued - unsent :],
    )


def _options(record: TcpRecord) -> Iterable[bytes]:
    if record.sack:
        yield _PAIR.pack(_OPTION_SACK, 0)
    if record.scales is not None:
        send, receive = record.scales
        yield _PAIR.pack(_OPTION_SCALES, send | receive << 16)
    if record.timestamp is not None:
        yield _PAIR.pack(_OPTION_TIMESTAMPS, 0)
    yield _PAIR.pack(_OPTION_MSS, record.mss)


def _peek(frozen: socket.socket, count: int) -> bytes:
    """The queue that is selected, without taking anything out of it."""
    if not count:
        return b""
    data = frozen.recv(count + 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    if len(data) != count:
        raise FreezeError("not_quiet")
    return data


def _fill(frozen: socket.socket, queue: int, data: bytes) -> None:
    if data:
        _select(frozen, queue)
        _send(frozen, data)


def _send(opened: socket.socket, data: bytes) -> None:
    """The kernel may have no room for a large piece at once."""
    at, chunk = 0, len(data)
    while at < len(data):
        try:
            at += opened.send(data[at : at + chunk], socket.MSG_DONTWAIT)
        except OSError:
            if chunk <= _LEAST_CHUNK:
                raise
            chunk //= 2


def _select(frozen: socket.socket, queue: int) -> None:
    _set(frozen, TCP_REPAIR_QUEUE, queue)


def _set(opened: socket.socket, option: int, value: int) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, option, _NUMBER.pack(value % (1 << 32)))


def _get(opened: socket.socket, option: int) -> int:
    value: int = _NUMBER.unpack(opened.getsockopt(socket.IPPROTO_TCP, option, _NUMBER.size))[0]
    return value


def _count(descriptor: int, request: int) -> int:
    value: int = _NUMBER.unpack(fcntl.ioctl(descriptor, request, bytes(_NUMBER.size)))[0]
    return value


def _name(address: SocketAddress) -> tuple[str, int]:
    return str(address.host), address.port
