"""The content proxy as a role of a node: it is a neighbour of the edges and reaches origins as any client does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid.readiness import neighbour_check
from braid.status.snapshot import Check
from content.service import ContentService
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.desired import Desired
    from braid.events import Control
    from braid.plan import AppNumbers
    from braid.role import NodeHandle, Situation
    from braid.status.content import ContentStatus
    from braid.status.snapshot import TargetStatus
    from topology.model import IPNetwork, Topology


class Content:
    has_tun = False

    def __init__(self) -> None:
        self._service = ContentService()

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return {}

    def targets_of(self, topology: Topology, node: str) -> dict[str, tuple[str, ...]]:
        return {}

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return ()

    def complete(self, desired: Desired, topology: Topology, node: str, numbers: AppNumbers) -> Desired:
        return desired

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        listening = self._service.listening
        content = Check("content", listening, "" if listening else "the store is being read")
        return content, neighbour_check(situation, (Role.EDGE,))

    def receive_control(self, control: Control, now: float) -> None:
        """A content proxy is told nothing by control message."""

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """Readiness is computed when it is asked for."""

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._service.run(node, task_status=task_status)

    def content(self) -> ContentStatus | None:
        return self._service.status()

    def finish(self) -> bool:
        return self._service.finish()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}
