"""round_robin: one after the other, whatever their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.policy.base import Load
    from topology.model import Target


class RoundRobin:
    def __init__(self) -> None:
        self._turn = 0

    def pick(self, servers: Sequence[Target], load: Load, key: int) -> Target:
        self._turn += 1
        return servers[(self._turn - 1) % len(servers)]
