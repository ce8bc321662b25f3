"""least_connections: fewest under way for its weight; among equals one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.policy.base import Load
    from topology.model import Target


class LeastConnections:
    def __init__(self) -> None:
        self._turn = 0

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        self._turn += 1
        turn = self._turn % len(servers)
        return min((*servers[turn:], *servers[:turn]), key=lambda server: load.active(server) / server.weight)
