"""Addresses as sockets give them."""

from __future__ import annotations

import socket


def packed_address(host: str) -> bytes:
    """4 or 16 bytes of a peer's address as a socket gives it."""
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return socket.inet_aton(host)
