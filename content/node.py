"""The content proxy as a role of a node: it is a neighbour of the edges and reaches origins as any client does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from braid.readiness import neighbour_check
from braid.status.snapshot import Check
from content.reach import content_policy, peers_of
from content.service import ContentService
from topology.model import Role
from topology.transfer import takes_transfers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.desired import Desired
    from braid.events import Control
    from braid.plan import AppNumbers
    from braid.role import NodeHandle, Situation
    from braid.status.content import ContentStatus
    from braid.status.flow import FlowStatus, ProxyStatus
    from braid.status.snapshot import TargetStatus
    from braid.status.transfers import TransferStatus
    from topology.model import IPNetwork, Topology


class Content:
    def __init__(self) -> None:
        self._service = ContentService()

    def has_tun(self, topology: Topology, node: str) -> bool:
        return takes_transfers(topology, node)

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return peers_of(topology, node)

    def targets_of(self, topology: Topology, node: str) -> dict[str, tuple[str, ...]]:
        return {}

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return ()

    def complete(self, desired: Desired, topology: Topology, node: str, numbers: AppNumbers) -> Desired:
        if not takes_transfers(topology, node):
            return desired
        return replace(desired, gateway=content_policy(topology, node))

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        listening, problems = self._service.listening, self._service.problems
        words = "; ".join(f"{what}: {why}" for what, why in problems.items())
        content = Check("content", listening and not problems, words if listening else "the store is being read")
        return content, neighbour_check(situation, (Role.EDGE,))

    def receive_control(self, control: Control, now: float) -> None:
        if self._service.transfers is not None:
            self._service.transfers.receive(control, now)

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """Readiness is computed when it is asked for."""

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._service.run(node, task_status=task_status)

    def content(self) -> ContentStatus | None:
        return self._service.status()

    def transfers(self) -> TransferStatus | None:
        found = self._service.transfers
        return None if found is None else found.status()

    def proxied_flows(self, limit: int) -> list[FlowStatus]:
        found = self._service.transfers
        return [] if found is None else found.flows(limit, trio.current_time())

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return ()

    def finish(self) -> bool:
        return self._service.finish()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}
