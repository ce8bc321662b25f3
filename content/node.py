"""The content proxy as a role of a node: it is a neighbour of the edges and reaches origins as any client does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from braid.readiness import neighbour_check
from braid.status.snapshot import Check
from content.reach import content_policy, peers_of
from content.supervisor import Supervisor
from topology.model import Role
from topology.transfer import takes_transfers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.app_numbers import AppNumbers
    from braid.desired import Desired
    from braid.events import Control
    from braid.role import NodeHandle, Situation
    from braid.status.content import ContentStatus
    from braid.status.flow import FlowStatus, ProxyStatus
    from braid.status.snapshot import TargetStatus
    from braid.status.transfers import TransferStatus
    from topology.model import IPNetwork, Topology


class Content:
    def __init__(self) -> None:
        self._service = Supervisor()

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
        clerk, problem = self._service.clerk, self._service.problem
        files = {} if clerk is None else clerk.problems
        words = "; ".join(filter(None, (problem, *(f"{what}: {why}" for what, why in files.items()))))
        content = Check("content", self._service.listening and not words, words)
        return content, neighbour_check(situation, (Role.EDGE,))

    def receive_control(self, control: Control, now: float) -> None:
        self._service.receive(control)

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        self._service.receive_neighbour(number, up)

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """A gateway that has started again is to hear what is stored."""
        if adjacent:
            self._service.receive_neighbour(number, True)

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._service.run(node, task_status=task_status)

    def content(self) -> ContentStatus | None:
        return self._service.status()

    def transfers(self) -> TransferStatus | None:
        return None if self._service.clerk is None else self._service.clerk.transfers

    def proxied_flows(self, limit: int) -> list[FlowStatus]:
        return [] if self._service.clerk is None else self._service.clerk.flows[:limit]

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return ()

    def finish(self) -> bool:
        return self._service.finish()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}
