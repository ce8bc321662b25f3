"""The DNS node as a role: it hears the edges over its neighbour sessions and answers resolvers on its own sockets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from braid import log as logs
from braid.errors import BadPacket
from braid.messages import EdgeReport, decode
from braid.readiness import neighbour_check
from braid.role import StartError
from braid.status.snapshot import Check
from dns.config import dns_config
from dns.drain import DrainFollower, drain_file
from dns.geo import GeoError, GeoFollower, database_file
from dns.health import HealthTable
from dns.node import DnsService, serve
from dns.policy import Standing
from dns.status import explanation
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.app_numbers import AppNumbers
    from braid.desired import Desired
    from braid.events import Control
    from braid.role import NodeHandle, Situation
    from braid.status.snapshot import TargetStatus
    from topology.model import IPNetwork, Topology

log = logs.get(__name__)

GEO_LOOK = 5.0
"""Seconds between looks at the file of the geo database."""


class Dns:
    def __init__(self) -> None:
        self._health = HealthTable()
        self._service: DnsService | None = None
        self._bad_messages = 0

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
        """Ready when it answers, has a session with an edge and knows one in working order."""
        service = self._service
        listening = Check("dns", service is not None, "" if service else "the listen addresses are not bound yet")
        heard = service is not None and any(
            edge.heard_ago is not None and edge.standing is Standing.UP for edge in service.edges()
        )
        edges = Check("edge", heard, "" if heard else "no edge reports that it is in working order")
        return (listening, neighbour_check(situation, (Role.EDGE,)), edges)

    def receive_control(self, control: Control, now: float) -> None:
        """Takes an edge's report or measures; counts what is neither."""
        try:
            message = decode(control.message)
        except BadPacket:
            self._bad_messages += 1
            return
        if not control.adjacent:
            return
        if isinstance(message, EdgeReport):
            self._health.receive_report(control.peer, message, now)
        else:
            self._health.receive_measures(control.peer, message, now)

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        if up:
            self._health.neighbour_up(number)
        else:
            self._health.neighbour_down(number)

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """Nothing is remembered of what a peer was told."""

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers DNS until cancelled, on trio's clock. Started when every listen address is bound; starts
        ``dns.node.serve`` and follows reloads and the geo database. Survives what clients and edges send;
        ``BindError``, ``StartError`` for a geo database that is not there, and bugs propagate."""
        situation = node.situation()
        config = dns_config(situation.topology, situation.node)
        geo = GeoFollower()
        try:
            await trio.to_thread.run_sync(geo.look, database_file(situation.topology, node.topology_file))
        except GeoError as error:
            raise StartError(str(error)) from None
        async with trio.open_nursery() as nursery:
            drained = DrainFollower(None if node.topology_file is None else drain_file(node.topology_file))
            self._service = await nursery.start(
                partial(serve, config, self._health, clock=trio.current_time, drained=drained.names, geo=geo.database)
            )
            nursery.start_soon(_follow_geo, node, geo, self._service)
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


async def _follow_geo(node: NodeHandle, geo: GeoFollower, service: DnsService) -> NoReturn:
    """A file that is no good changes nothing, and is told of once."""
    while True:
        await trio.sleep(GEO_LOOK)
        file = database_file(node.situation().topology, node.topology_file)
        try:
            changed = await trio.to_thread.run_sync(geo.look, file)
        except GeoError as error:
            log.error("geo database is not taken over", problem=str(error))
            continue
        if changed:
            service.set_geo(geo.database)
            built = None if geo.database is None else geo.database.built
            log.info("geo database", file=str(file), built=built)
