"""Sockets bound to one address each, so that an answer leaves from the address that was asked."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import trio

from braid.role import StartError

if TYPE_CHECKING:
    from topology.model import SocketAddress

BIND_PATIENCE = 3.0
"""Seconds to wait for an address that is not there yet: an IPv6 address is tentative for about two."""
BACKLOG = 128
RECEIVE_BUFFER = 8 << 20
"""Bytes of a UDP socket: some 10,800 queries that come while other tasks of the node have their turn."""
_SO_RCVBUFFORCE = 33


class BindError(StartError):
    """A listen address that cannot be had; names the address and the remedy."""


async def bind(address: SocketAddress, kind: socket.SocketKind, key: str) -> socket.socket:
    """Returns a bound, non-blocking socket; a listening one for ``SOCK_STREAM``. Raises ``BindError``, which names
    the topology's ``key``."""
    with trio.move_on_after(BIND_PATIENCE):
        while True:
            try:
                return _bind_now(address, kind)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise BindError(_explain(address, kind, key, error)) from error
            await trio.sleep(0.1)
    raise BindError(f"{key} {address}: is no address of this host; correct {key} in the topology or add the address")


def _bind_now(address: SocketAddress, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if address.host.version == 6 else socket.AF_INET
    bound = socket.socket(family, kind)
    try:
        bound.setblocking(False)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            _enlarge(bound)
        bound.bind((str(address.host), address.port))
        if kind == socket.SOCK_STREAM:
            bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _enlarge(bound: socket.socket) -> None:
    try:
        bound.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:
        # Without the privilege it is as much as net.core.rmem_max allows.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _explain(address: SocketAddress, kind: socket.SocketKind, key: str, error: OSError) -> str:
    transport = "tcp" if kind == socket.SOCK_STREAM else "udp"
    remedy = {
        errno.EADDRINUSE: "another program answers there; stop it or choose another address",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        errno.EPERM: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    }.get(error.errno or 0, f"correct {key} in the topology")
    return f"{key} {address} ({transport}): {error.strerror}; {remedy}"
