"""The gateway as a role of a node."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from braid import cookie_service
from braid.events import ServiceRequest
from braid.readiness import neighbour_check
from braid.status.snapshot import Check, TargetStatus
from gateway.drain.service import DrainService
from gateway.health import HealthService
from gateway.nat import captured, gateway_policy, served, stack_alone, targets_of, with_siblings
from gateway.proxy import show
from gateway.proxy.service import ProxyService
from gateway.targets import TargetTable
from gateway.transfer import show as transferred

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from random import Random

    from braid.app_numbers import AppNumbers
    from braid.desired import Desired, GatewayPolicy
    from braid.events import ConnectionEvent, Control
    from braid.role import NodeHandle, Situation
    from braid.status.drain import DrainStatus
    from braid.status.flow import FlowStatus, ProxyStatus
    from braid.status.transfers import TransferStatus
    from topology.model import IPNetwork, Topology


class Gateway:
    """``no_repair`` says why kernel sockets cannot be built here; then connections of proxied applications come to
    listeners."""

    def __init__(self, rng: Random, no_repair: str | None = None) -> None:
        self._table = TargetTable()
        self._health = HealthService(self._table, rng)
        self._proxies = ProxyService(self._table.healthy, rng, no_repair)
        self._promotes = no_repair is None
        self._drain = DrainService(
            partial(stack_alone, promotes=self._promotes),
            self._proxies.ground.lodge,
            self._proxies.let_go,
            self._proxies.transfers,
            self._staying,
        )
        self._proxies.transfers.leaves = self._drain.leaves

    def has_tun(self, topology: Topology, node: str) -> bool:
        return True

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return with_siblings(topology, node)

    def targets_of(self, topology: Topology, node: str) -> dict[str, tuple[str, ...]]:
        return targets_of(topology, node)

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return self._drain.captured(topology, captured(topology, node))

    def complete(self, desired: Desired, situation: Situation, numbers: AppNumbers) -> Desired:
        return replace(desired, gateway=self._policy(situation.topology, situation.node, numbers))

    def _policy(self, topology: Topology, node: str, numbers: AppNumbers) -> GatewayPolicy:
        standing = self._drain.standing(topology)
        return gateway_policy(topology, node, numbers, self._table.healthy, promotes=self._promotes, drain=standing)

    def remember(self, topology_file: Path, topology: Topology, node: str) -> None:
        self._drain.remember(topology_file, topology, node)

    def _staying(self) -> dict[str, int]:
        return show.staying(self._proxies)

    def drain(self) -> DrainStatus:
        return self._drain.status()

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        problems = self._proxies.problems
        proxies = Check("proxies", not problems, "; ".join(f"{what}: {why}" for what, why in problems.items()))
        return neighbour_check(situation), proxies

    def receive_control(self, control: Control, now: float) -> None:
        if not self._drain.receive(control, now):
            self._proxies.transfers.receive(control, now)

    def receive_connection(self, event: ConnectionEvent) -> None:
        given = isinstance(event, ServiceRequest) and self._drain.give(
            event.connection, partial(self._proxies.receive, event)
        )
        if not given:
            self._proxies.receive(event)

    def settle_connections(self) -> None:
        self._proxies.settle()

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """A content proxy that is gone answers no more questions."""
        if not up:
            self._proxies.transfers.receive_down(number, now)

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """A content proxy that has started again has lost its connections, an edge has forgotten who has which, a
        sibling what it was told."""
        if adjacent:
            self._drain.receive_restart(number)
            self._proxies.transfers.receive_down(number, now)
        else:
            self._proxies.transfers.receive_restart(number, now)

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Check the targets, change the keys of SYN cookies, run the proxies. Started when all do; never returns."""
        async with trio.open_nursery() as nursery:
            await nursery.start(cookie_service.run, node)
            await nursery.start(self._health.run, node)
            await nursery.start(self._proxies.run, node)
            await nursery.start(self._drain.run, node)
            task_status.started()

    def proxied_flows(self, limit: int) -> list[FlowStatus]:
        now = trio.current_time()
        found = show.flows(self._proxies, limit, now)
        return found + transferred.flows(self._proxies.transfers, limit - len(found), now)

    def spliced(self) -> dict[int, str]:
        return show.in_data_plane(self._proxies)

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return show.proxies(self._proxies, trio.current_time())

    def transfers(self) -> TransferStatus:
        return transferred.status(self._proxies.transfers)

    def finish(self) -> bool:
        return self._proxies.finish()

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        found = []
        for application in served(topology, node):
            for target in application.targets:
                health = self._table.of((application.name, target.address))
                found.append(
                    TargetStatus(
                        application.name,
                        str(target.address),
                        target.port,
                        target.weight,
                        health.healthy,
                        health.detail,
                    )
                )
        return tuple(found)

    def counters(self) -> Mapping[str, int]:
        return {}
