"""The edge as a role of a node."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import cookie_service, missed, moves
from braid import log as logs
from braid.alarm import Alarm
from braid.errors import BadPacket
from braid.moves import is_move
from braid.readiness import neighbour_check, peer_check
from edge.applications import edge_policy, peers_of, proxies_of, targets_of
from edge.diverts import Diverts
from edge.missing import Missing
from edge.report import Meters, send_reports
from edge.vip import captured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from braid.app_numbers import AppNumbers
    from braid.desired import Desired
    from braid.events import Control
    from braid.role import NodeHandle, Situation
    from braid.status.snapshot import Check, TargetStatus
    from topology.model import IPNetwork, Topology

log = logs.get(__name__)


class Edge:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._meters = Meters()
        self._diverts = Diverts()
        self._missing, self._alarm = Missing(), Alarm()
        self._node: NodeHandle | None = None
        self._counts: Counter[str] = Counter()

    def has_tun(self, topology: Topology, node: str) -> bool:
        return True

    def peers(self, topology: Topology, node: str) -> dict[str, frozenset[int]]:
        return {**peers_of(topology, node), **proxies_of(topology, node)}

    def targets_of(self, topology: Topology, node: str) -> dict[str, tuple[str, ...]]:
        return targets_of(topology, node)

    def captured(self, topology: Topology, node: str) -> tuple[IPNetwork, ...]:
        return captured(topology, node)

    def complete(self, desired: Desired, situation: Situation, numbers: AppNumbers) -> Desired:
        return replace(desired, edge=edge_policy(situation, numbers, self._diverts))

    def checks(self, situation: Situation) -> tuple[Check, ...]:
        return (neighbour_check(situation), peer_check(situation, peers_of(situation.topology, situation.node)))

    def receive_control(self, control: Control, now: float) -> None:
        """A gateway may say which gateway has its clients; who has a connection of one's, the core hears."""
        node = self._node
        if node is None or control.adjacent:
            return
        if is_move(control.message):
            self._receive_divert(node, control)

    def _receive_divert(self, node: NodeHandle, control: Control) -> None:
        try:
            message = moves.decode(control.message)
        except BadPacket:
            self._counts["steering_bad"] += 1
            return
        topology = node.situation().topology
        sender = topology.by_number(control.peer)
        changes = self._diverts.receive(topology, control.peer, message) if isinstance(message, moves.Divert) else None
        if changes is None or sender is None or not isinstance(message, moves.Divert):
            self._counts["steering_stray"] += 1
            return
        if changes:
            to = topology.by_number(message.to)
            log.info("clients of a gateway go to another one", gateway=sender.name, to=to.name if to else sender.name)
            node.replan()
        node.send_to_peer(sender.name, moves.encode(moves.Diverted(message.id, message.order)))

    def receive_neighbour(self, number: int, up: bool, now: float) -> None:
        """A content proxy that this edge misses may live: gateways that gave it connections hear so."""
        node = self._node
        if node is None:
            return
        situation = node.situation()
        found = situation.topology.by_number(number)
        if up:
            self._missing.up(number)
        elif found is not None and found.name in proxies_of(situation.topology, situation.node):
            self._missing.down(number, now)
            self._alarm.set(now)

    def receive_restart(self, number: int, adjacent: bool, now: float) -> None:
        """Nothing is remembered of what a peer was told, and of what a gateway has said only where its clients go."""
        if not adjacent:
            self._diverts.restarted(number)

    async def serve(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Change the keys of SYN cookies, measure itself, report to the DNS nodes. Started with the first keys; never
        returns."""
        self._node = node
        async with trio.open_nursery() as nursery:
            await nursery.start(cookie_service.run, node)
            nursery.start_soon(self.say_missed, node)
            task_status.started()
            await send_reports(node, self._meters, self._rng.getrandbits(32))

    async def say_missed(self, node: NodeHandle) -> NoReturn:
        """Tell gateways of content proxies that this edge misses. Never returns."""
        self._node = node
        while True:
            for number in self._missing.due(trio.current_time()):
                situation = node.situation()
                for gateway in peers_of(situation.topology, situation.node):
                    node.send_to_peer(gateway, missed.encode(missed.Missed(number)))
            await self._alarm.wait(self._missing.next_timeout())

    def targets(self, topology: Topology, node: str) -> tuple[TargetStatus, ...]:
        return ()

    def counters(self) -> Mapping[str, int]:
        return {}
