"""Streams on sockets: a connection inside this process, and an end that is heard as cut off."""

from __future__ import annotations

import socket
import struct

import trio

CHUNK = 65_536
"""Bytes that are read at once."""
RESETS = struct.pack("ii", 1, 0)
"""``struct linger``: closing resets."""


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """For what one proxy makes and another one carries."""
    one, other = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(one)),
        trio.SocketStream(trio.socket.from_stdlib_socket(other)),
    )


def reset_on_close(stream: trio.SocketStream) -> None:
    """RST instead of FIN when it is closed."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
