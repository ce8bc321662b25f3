"""Where clients come in: the node's process accepts, so that no connection is lost with a worker."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.bind import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topology.model import SocketAddress

log = logs.get(__name__)

RETRY = 0.1
"""Seconds until a listener tries again that could not accept, for want of descriptors."""


async def open_listeners(addresses: Sequence[SocketAddress], key: str) -> list[socket.socket]:
    """``StartError`` for one that cannot be had; it names the topology's ``key``."""
    return [await bind(address, socket.SOCK_STREAM, key) for address in addresses]


async def accept(listener: socket.socket, take: Callable[[socket.socket, str], None]) -> None:
    """Give each connection, and its client's address, to ``take``. Never returns; closes the listener."""
    with listener:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                opened, peer = listener.accept()
            except BlockingIOError:
                continue
            except OSError as error:
                log.debug("connection not accepted", problem=str(error))
                await trio.sleep(RETRY)
                continue
            take(opened, peer[0].partition("%")[0])
