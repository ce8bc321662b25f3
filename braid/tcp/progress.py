"""How far a TCP connection has come, from the kernel: what its owner wrote and read, whoever that was.

A process that dies takes its own count along. The kernel's counts stay with the socket as long as any process has it.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.tcp.repair import unread, unsettled

if TYPE_CHECKING:
    import trio

_INFO = struct.Struct("=B119xQQ")
"""Of linux/tcp.h ``struct tcp_info``: state, bytes acknowledged to us, bytes received."""
_WINDOW_AT = 228
"""Of the window that the peer has offered."""
_MODULUS = 1 << 32
ESTABLISHED, CLOSE_WAIT = 1, 8
_AFTER_FIN = frozenset((6, 7, 8, 9, 11))
"""States in which the peer's FIN has come: it counts as a byte."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes since the connection began; the beginning differs between kinds of sockets, so only differences count."""

    read: int
    written: int
    open: bool
    """More may be written."""


def progress(opened: socket.socket) -> Progress:
    """Exact while nobody reads and writes; packets may come and go meanwhile."""
    information = _read(opened)
    while True:
        waiting, unacknowledged = unread(opened.fileno()), unsettled(opened.fileno())
        again = _read(opened)
        if again == information:
            break
        information = again
    state, taken, received = information
    return Progress(
        received - waiting - (state in _AFTER_FIN), taken + unacknowledged, state in (ESTABLISHED, CLOSE_WAIT)
    )


def is_still(opened: socket.socket, received: int) -> bool:
    """Whether nothing has come, and no end, since so much had (``repair.Offered.received``)."""
    state, _, now = _read(opened)
    return state == ESTABLISHED and now % _MODULUS == received


def acknowledged(opened: socket.socket | trio.socket.SocketType) -> int:
    """Bytes that the peer has taken."""
    return _read(opened)[1]


def _read(opened: socket.socket | trio.socket.SocketType) -> tuple[int, int, int]:
    state, taken, received = _INFO.unpack(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    return state, taken, received


def counts_of(opened: socket.socket) -> tuple[int, int, int]:
    """Bytes that came since the socket was built, those that the peer acknowledged, and how many more it lets us send;
    0 where the kernel does not tell that."""
    data = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _WINDOW_AT + 4)
    _, taken, received = _INFO.unpack_from(data)
    window = int.from_bytes(data[_WINDOW_AT:], sys.byteorder) if len(data) == _WINDOW_AT + 4 else 0
    return received, taken, window


def has_ended(opened: socket.socket) -> bool:
    """The peer will send no more."""
    return opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _AFTER_FIN
