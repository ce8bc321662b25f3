"""weighted: in proportion to the weights, evenly spread, without bursts to a heavy server (as nginx does)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.policy.base import Load
    from topology.model import Target


class Weighted:
    def __init__(self) -> None:
        self._credit: dict[Target, int] = {}

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        """Each earns its weight; the richest is picked and pays what all earned."""
        for server in servers:
            self._credit[server] = self._credit.get(server, 0) + server.weight
        chosen = max(servers, key=lambda server: self._credit[server])
        self._credit[chosen] -= sum(server.weight for server in servers)
        return chosen
