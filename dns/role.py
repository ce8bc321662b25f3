"""The DNS node as a role: it hears the edges over its neighbour sessions and answers resolvers on its own sockets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from braid import log as logs
from braid.errors import BadPacket
from braid.messages import decode
from braid.readiness import neighbour_check
from braid.status.snapshot import Check
from dns.config import dns_config
from dns.drain import DrainFollower, drain_file
from dns.health import HealthTable
from dns.node import DnsService, serve
from dns.policy import Standing
from dns.status import explanation
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.desired import Desired
    from braid.events import Control
    from braid.plan import AppNumbers
    from braid.role import NodeHandle, Situation
    from braid.status.snapshot import TargetStatus
    from topology.model import IPNetwork, Topology

log = logs.get(__name__)


class Dns:
    has_tun = False

    def __init__(self) -> None:
        self._health = HealthTable()
        self._service: DnsService | None = None
        self._bad_messages = 0

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return {}

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return ()

    def complete(self, desired: Desired, topology: Topology, node: str, numbers: AppNumbers) -> Desired:
        return desired

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        """Ready when it answers, has a session with an edge and knows one in working order."""
        service = self._service
        listening = Check("dns", service is not None, "" if service else "the listen addresses are not bound yet")
        heard = service is not None and any(
            edge.heard_ago is not None and edge.standing is Standing.UP for edge in service.edges()
        )
        edges = Check("edge", heard, "" if heard else "no edge reports that it is in working order")
        return (listening, neighbour_check(situation, (Role.EDGE,)), edges)

    def receive_control(self, control: Control, now: float) -> None:
        """Takes an edge's report; counts what is none."""
        try:
            report = decode(control.message)
        except BadPacket:
            self._bad_messages += 1
            return
        if control.adjacent:
            self._health.receive_report(control.peer, report, now)

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        if up:
            self._health.neighbour_up(number)
        else:
            self._health.neighbour_down(number, now)

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers DNS until cancelled, on trio's clock. Started when every listen address is bound; starts
        ``dns.node.serve`` and follows reloads. Survives what clients and edges send; ``DnsBindError`` and bugs
        propagate."""
        situation = node.situation()
        config = dns_config(situation.topology, situation.node)
        async with trio.open_nursery() as nursery:
            drained = DrainFollower(None if node.topology_file is None else drain_file(node.topology_file))
            self._service = await nursery.start(
                partial(serve, config, self._health, clock=trio.current_time, drained=drained.names)
            )
            log.info("dns answers", zone=config.zone.name, addresses=[str(address) for address in config.listen])
            task_status.started()
            while True:
                await node.reloaded().wait()
                situation = node.situation()
                config = dns_config(situation.topology, situation.node)
                if not self._service.reload(config):
                    log.warning("dns_listen changed: restart the node", addresses=[str(a) for a in config.listen])

    def steering(self, hostname: str | None, client: str | None) -> dict[str, Any] | None:
        """What the node answers and why; with both arguments the decision for one client. None until it answers;
        ``ValueError`` when one is missing or wrong."""
        if self._service is None:
            return None
        if hostname is None and client is None:
            return self._service.document()
        if hostname is None or client is None:
            raise ValueError("give both name= and client=, or none")
        return explanation(self._service.view, hostname, client)

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        service = self._service
        if service is None:
            return {"bad_messages": self._bad_messages}
        return {"bad_messages": self._bad_messages} | service.counters.flat() | service.standings()
