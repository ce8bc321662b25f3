"""The addresses and rules that this host's stack needs to serve proxied connections: put up, followed, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.linux import LinuxError
from gateway.nat import served
from gateway.proxy import stack
from topology.model import ServiceMode

if TYPE_CHECKING:
    from braid.role import Situation
    from topology.model import Application, IPNetwork

log = logs.get(__name__)


class Ground:
    def __init__(self) -> None:
        self._local = stack.Local()
        self._guests: tuple[IPNetwork, ...] = ()
        self._situation: Situation | None = None
        self._changing = trio.Lock()

    async def follow(self, situation: Situation) -> None:
        """The topology may have changed. What cannot be set up is logged."""
        self._situation = situation
        local = stack.local(situation.topology, situation.node, proxied_here(situation), self._guests)
        async with self._changing:
            try:
                warnings = await stack.apply(self._local, local)
            except LinuxError as error:
                warnings = [str(error)]
            self._local = local
        for warning in warnings:
            log.warning("network is not as it should be", problem=warning)

    async def lodge(self, guests: tuple[IPNetwork, ...]) -> None:
        """Serve connections to servers from these pools of another gateway, too."""
        changed, self._guests = guests != self._guests, guests
        if changed and self._situation is not None:
            await self.follow(self._situation)

    async def clear(self) -> None:
        """Remove all, if anything is there."""
        if self._local != stack.Local():
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await stack.clear()


def proxied_here(situation: Situation) -> list[Application]:
    """Applications that have proxies at this gateway."""
    applications = served(situation.topology, situation.node)
    return [each for each in applications if each.mode is ServiceMode.PROXY]
