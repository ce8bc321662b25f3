"""A connection inside this process, for what one proxy makes and another one carries."""

from __future__ import annotations

import socket

import trio


def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, other = socket.socketpair()
    return (
        trio.SocketStream(trio.socket.from_stdlib_socket(one)),
        trio.SocketStream(trio.socket.from_stdlib_socket(other)),
    )
