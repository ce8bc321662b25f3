"""ESTABLISHED kernel sockets from records, and records from sockets, without a packet (TCP_REPAIR, ``CAP_NET_ADMIN``).

A frozen socket, and one that was built, is silent until ``start``; but it still takes packets and acknowledges them.
So whoever freezes one that is to end keeps packets from it before, and lets none through after: the stack would answer
for a connection that is no more with a reset.

The system calls are the core's (``dataplane/io/src/repair.rs``): there are twenty of them for a socket.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from typing import TYPE_CHECKING

from braid.tcp.record import decode_record, encode_record
from dataplane import _native

if TYPE_CHECKING:
    import trio

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord

# linux/tcp.h
TCP_REPAIR, _TCP_REPAIR_QUEUE, _SEND_QUEUE, _ON = 19, 20, 2, 1
# linux/sockios.h
_SIOCINQ, _SIOCOUTQ, _SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
_IP_TRANSPARENT = 19
_NUMBER = struct.Struct("=I")


class FreezeError(Exception):
    """The connection cannot be carried on elsewhere now; the message, a word, says why. It goes on where it is."""


def unavailable() -> str | None:
    """Why sockets cannot be built in this process on this kernel; None if they can."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, _ON)
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, _SEND_QUEUE)
            probe.setsockopt(socket.SOL_IP, _IP_TRANSPARENT, 1)
    except OSError as error:
        return f"TCP_REPAIR: {error.strerror}"
    return None


def bound(where: tuple[str, int], device: str, mss: int) -> socket.socket:
    """A socket to connect from an address that is not the host's, through a device, with segments of at most so many
    bytes; non-blocking. OSError as of bind."""
    return _socket(":" in where[0], _native.repair_bound(*where, device, mss))


def is_own(host: str) -> bool:
    """Whether an address is one of this host."""
    return _native.is_own(host)


def build(record: TcpRecord, device: str = "") -> socket.socket:
    """A frozen socket that is connected as the record says, through a device; non-blocking. OSError if the kernel does
    not take it, as EADDRNOTAVAIL where the connection exists already."""
    return build_encoded(encode_record(record), record, device)


def build_encoded(encoded: bytes, record: TcpRecord, device: str = "", later: int = 0) -> socket.socket:
    """The same, where the record's bytes are there; ``later``: so many milliseconds, as ``TcpRecord.after``."""
    return _socket(record.local.host.version == 6, _native.repair_build(encoded, device, later))


def start(frozen: socket.socket, unsent: bytes = b"") -> None:
    """Let it go on; ``unsent`` of its record goes out now. OSError if the kernel does not take it."""
    _native.repair_start(frozen.fileno(), unsent)


def freeze(opened: socket.socket) -> TcpRecord:
    """The record of a non-blocking socket that is silent from now on. FreezeError, and it is not frozen: either side
    has ended, or the socket is broken."""
    try:
        return decode_record(_native.repair_freeze(opened.fileno()))
    except ValueError as error:
        raise FreezeError(str(error)) from error
    except OSError as error:
        raise FreezeError(errno.errorcode.get(error.errno or 0, "failed").lower()) from error


def dissolve(opened: socket.socket | trio.socket.SocketType) -> None:
    """Close a frozen socket, or one that is to end like that: the peer hears nothing, now or later. The connection may
    be built again at once, whoever has other descriptors of it."""
    _native.repair_dissolve(opened.fileno())
    opened.close()


def give_back(
    core: ConnectionApi, connection: int, sockets: tuple[int, int], waiting: tuple[bytes, bytes], until: int | None
) -> str | None:
    """Freeze the descriptors of a client and its server and let ``core`` carry both on, with bytes that were read from
    the one and not written to the other, ``waiting`` for client and server. Whoever closes them then does so without a
    word. ``until`` is that of ``core.splice``. The reason if it cannot be, a word; both go on then."""
    return _native.give_back(core, connection, *sockets, *waiting, until)


def unacknowledged(opened: socket.socket) -> int:
    """Bytes that were sent and not acknowledged."""
    return unsettled(opened.fileno()) - _count(opened.fileno(), _SIOCOUTQNSD)


def unsettled(descriptor: int) -> int:
    """Bytes that the peer has not acknowledged, whether sent or not."""
    return _count(descriptor, _SIOCOUTQ)


def unread(descriptor: int) -> int:
    """Bytes that came and were not read."""
    return _count(descriptor, _SIOCINQ)


def _socket(v6: bool, descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)


def _count(descriptor: int, request: int) -> int:
    value: int = _NUMBER.unpack(fcntl.ioctl(descriptor, request, bytes(_NUMBER.size)))[0]
    return value
