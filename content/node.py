"""The content proxy as a role of a node: it is a neighbour of the edges and reaches origins as any client does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from braid.delegation import NOTHING, lacking
from braid.readiness import neighbour_check
from braid.status.snapshot import Check
from content.reach import content_policy, peers_of
from content.supervisor import Supervisor
from topology.model import Role
from topology.table import takes_transfers

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


SHOWN = 4
"""VIPs and names that a check lists."""


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

    def complete(self, desired: Desired, situation: Situation, numbers: AppNumbers) -> Desired:
        if not takes_transfers(situation.topology, situation.node):
            return desired
        return replace(desired, gateway=content_policy(situation))

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        clerk, problem = self._service.clerk, self._service.problem
        files = {} if clerk is None else clerk.problems
        words = "; ".join(filter(None, (problem, *(f"{what}: {why}" for what, why in files.items()))))
        content = Check("content", self._service.listening and not words, words)
        return content, _delegated(situation), neighbour_check(situation, (Role.EDGE,))

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

    def spliced(self) -> Mapping[int, str]:
        return {}

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return ()

    def finish(self) -> bool:
        return self._service.finish()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}


def _delegated(situation: Situation) -> Check:
    found = lacking(situation.topology, situation.node, situation.delegations.get(situation.node, NOTHING))
    shown = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    remedy = f"make new credentials and restart: braid pki issue {situation.node}"
    return Check("delegation", not found, f"the certificate does not allow {shown}; {remedy}" if found else "")
