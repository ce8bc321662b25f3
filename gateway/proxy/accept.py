"""Connections that listeners accept, where the fast path does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.streams import reset_on_close

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.proxy.pool import ProxiedApplication

log = logs.get(__name__)

RETRY = 0.1
"""Seconds to wait where the process has no descriptors left."""


async def accept(
    listener: trio.socket.SocketType,
    proxied: ProxiedApplication,
    scope: trio.CancelScope,
    serve: Callable[[trio.SocketStream], None],
) -> None:
    """Until ``scope`` is cancelled. Closes the listener."""
    with scope, listener:
        while True:
            try:
                stream, _ = await listener.accept()
            except OSError as error:
                # ECONNABORTED and the like are the client's; for want of descriptors time must pass.
                proxied.count("accept_failed")
                log.debug("connection not accepted", problem=str(error))
                await trio.sleep(RETRY)
                continue
            serve(trio.SocketStream(stream))


async def reset(stream: trio.SocketStream) -> None:
    reset_on_close(stream)
    await trio.aclose_forcefully(stream)
