"""The intermediate as a role of a node: it relays for its neighbours and knows no applications and no peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid.readiness import neighbour_check
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.app_numbers import AppNumbers
    from braid.desired import Desired
    from braid.events import Control
    from braid.role import NodeHandle, Situation
    from braid.status.snapshot import Check, TargetStatus
    from topology.model import IPNetwork, Topology


class Intermediate:
    def has_tun(self, topology: Topology, node: str) -> bool:
        return False

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return {}

    def targets_of(self, topology: Topology, node: str) -> dict[str, tuple[str, ...]]:
        return {}

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return ()

    def complete(self, desired: Desired, situation: Situation, numbers: AppNumbers) -> Desired:
        return desired

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        return (neighbour_check(situation, (Role.EDGE, Role.INTERMEDIATE, Role.GATEWAY)),)

    def receive_control(self, control: Control, now: float) -> None:
        """An intermediate is told nothing by control message."""

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """Readiness is computed when it is asked for."""

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """Nothing is remembered of what a peer was told."""

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Nothing runs beside the relay in the core."""
        task_status.started()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}
