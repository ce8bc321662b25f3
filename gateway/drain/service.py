"""Drains of a gateway at work: what the operator wants, what this gateway is told, and what comes of it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.beat import beat
from braid.desired import SiblingChoice
from braid.drained import Order, order_of, orders_file, read_orders, write_order
from braid.errors import BadPacket
from braid.moves import Diverted, Flows, Have, Lease, Leased, decode, is_move
from braid.status.drain import DrainStatus
from gateway.drain.carrier import Entrusts, LetGo, MoveFailed
from gateway.drain.host import Host
from gateway.drain.lender import Lender
from gateway.drain.state import AT_HOME, GIVES, LEAVES, Standing, State, of_lender
from topology.graph import siblings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from braid.events import Control
    from braid.role import NodeHandle
    from topology.model import IPNetwork, Topology

log = logs.get(__name__)

POLL = 0.5
"""Seconds between looks at the operator's orders."""
AGAIN = 3.0
"""Seconds until a drain that failed is tried again, as long as it is ordered."""
FRESH = 10.0
"""Seconds for which a gateway that has started gives its sibling what it does not know: it may have been told of it in
an earlier life."""
REMEMBER = 7500.0
"""Seconds for which what clients began at the sibling is asked for there: as long as the longest idle connection."""


class DrainService:
    """``stays`` names the applications whose connections the data plane does not know; ``lodge`` has the host's stack
    serve connections from pools of another gateway; ``let_go`` has the proxies give to the data plane what can go on
    there, of those from some pools; ``moved`` is what content proxies have; ``staying`` counts what a stack has, by the
    reason."""

    def __init__(
        self,
        stays: Callable[[Topology, str], tuple[str, ...]],
        lodge: Callable[[tuple[IPNetwork, ...]], Awaitable[None]],
        let_go: LetGo,
        moved: Entrusts,
        staying: Callable[[], dict[str, int]],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._stays = stays
        self._staying = staying
        self._wall = wall
        self._lodge = lodge
        self._let_go = let_go
        self._moved = moved
        self._file: Path | None = None
        self._name = ""
        self._node: NodeHandle | None = None
        self._order: Order | None = None
        self._lender: Lender | None = None
        self._host: Host | None = None
        self._problem = ""
        self._ordered: Order | None = None
        self._tried = 0.0
        """When the order may be tried again that failed."""
        self._counts: Counter[str] = Counter()
        # One row of them for the process, so that a clock that is set back between two drains does not matter. Of those
        # before a restart edges know that they are of another process.
        self._orders = count(int(wall() * 10) & 0x7FFF_FFFF)
        self._captured: tuple[IPNetwork, ...] = ()
        self._fresh = True

    def remember(self, topology_file: Path, topology: Topology, name: str) -> None:
        """To be called before the node starts: a gateway that was drained does not answer for its pools."""
        self._file, self._name = orders_file(topology_file), name
        self._order = self._read(topology)

    def standing(self, topology: Topology) -> Standing:
        lender, host = self._lender, self._host
        if lender is not None and host is not None and host.lease is not None:
            return replace(host.standing, sibling=lender.standing.sibling or host.standing.sibling)
        if lender is not None:
            return lender.standing
        if host is not None and host.lease is not None:
            return host.standing
        if self._order is not None and self._node is None and self._order.to in topology.nodes:
            # It was drained when it ended: until the sibling is asked, nothing begins here.
            return of_lender(State.AWAY, topology.nodes[self._order.to].number)
        others = siblings(topology, self._name) if self._fresh and self._name else ()
        if len(others) == 1:
            return Standing(SiblingChoice(topology.nodes[others[0]].number, leaving=False))
        return AT_HOME

    def leaves(self) -> bool:
        """Whether what begins is another gateway's."""
        return self._lender is not None and self._lender.state in LEAVES

    def captured(self, topology: Topology, pools: tuple[IPNetwork, ...]) -> tuple[IPNetwork, ...]:
        standing = self.standing(topology)
        own = () if standing.lent else pools
        return (*own, *standing.guests) if standing.holds else own

    def give(self, connection: int, refused: Callable[[], None]) -> bool:
        """Whether another gateway is to be asked about a connection that the data plane asks about here; ``refused`` is
        called if it does not want to be."""
        sides = (side for side in (self._lender, self._host) if side is not None)
        return any(side.give(connection, refused) for side in sides)

    def receive_restart(self, number: int) -> None:
        """A neighbour is another process now."""
        lender, node = self._lender, self._node
        if lender is None or node is None:
            return
        sender = node.situation().topology.by_number(number)
        if sender is not None and sender.name == lender.order.to:
            lender.receive_restart()

    def receive(self, control: Control, now: float) -> bool:
        """False: it is no message of a drain."""
        if not is_move(control.message):
            return False
        node, host = self._node, self._host
        if node is None or host is None:
            return True
        sender = node.situation().topology.by_number(control.peer)
        try:
            message = decode(control.message)
        except BadPacket:
            self._counts["bad"] += 1
            return True
        lender = self._lender
        match message:
            case Diverted() if lender is not None and not control.adjacent:
                lender.receive_diverted(control.peer, message)
            case Lease() if sender is not None and control.adjacent:
                host.receive_lease(sender.name, message, lender is not None and lender.state is not State.HOME, now)
            case Flows() if sender is not None and control.adjacent:
                if lender is not None and sender.name == lender.order.to:
                    lender.receive_flows(message)
                host.receive_flows(sender.name, message)
            case Have() if sender is not None and control.adjacent:
                if lender is not None and sender.name == lender.order.to:
                    lender.receive_have(message)
                host.receive_have(sender.name, message)
            case Leased() if lender is not None and sender is not None and sender.name == lender.order.to:
                lender.receive_leased(message)
            case _:
                self._counts["stray"] += 1
        return True

    def status(self) -> DrainStatus:
        lender, host = self._lender, self._host
        told, refused = lender.told if lender is not None else (0, 0)
        return DrainStatus(
            state=lender.state.value if lender is not None else State.HOME.value,
            to=lender.order.to if lender is not None else "",
            by=self._order.by if self._order is not None else "",
            flows=told,
            refused=refused,
            again=lender.again if lender is not None else 0,
            opening=lender.look.opening if lender is not None else 0,
            stay=lender.look.stay if lender is not None else 0,
            stay_why=self._why_stay(lender),
            seconds=round(trio.current_time() - lender.began, 3) if lender is not None else 0.0,
            problem=self._problem,
            host_of=host.lender if host is not None else "",
            host_phase=host.lease.phase.name.lower() if host is not None and host.lease is not None else "",
            hosted=host.taken if host is not None else 0,
            hosted_refused=host.refused if host is not None else 0,
            why=host.why if host is not None else "",
        )

    def _why_stay(self, lender: Lender | None) -> dict[str, int]:
        if lender is None or lender.state not in GIVES:
            return {}
        found = self._staying()
        # Of these the core knows, and this side has no socket any more: one end has yet to say its last word.
        ending = lender.look.stay - sum(count for why, count in found.items() if why != "listener")
        return found | ({"ending": ending} if ending > 0 else {})

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Do what is ordered. Never returns."""
        assert node.flows is not None
        situation = node.situation()
        # What the node began with: not its pools where it was drained when it ended.
        self._captured = self.captured(situation.topology, situation.topology.nodes[situation.node].snat_pools)
        self._node = node
        self._host = Host(node, node.flows, self._settle, self._let_go)
        if self._file is None:
            self._order = None
        if self._order is not None:
            self._lender = self._make(node, self._order)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._host.run)
            nursery.start_soon(self._grow_up)
            task_status.started()
            while True:
                await self._obey(node)
                await beat(POLL)
        raise AssertionError("it never ends")

    async def _grow_up(self) -> None:
        await trio.sleep(FRESH)
        self._fresh = False
        await self._settle()

    async def _obey(self, node: NodeHandle) -> None:
        order, lender = self._read(node.situation().topology), self._lender
        self._order = order
        match order, lender:
            case None, _:
                self._problem = ""
                if lender is not None and lender.state is State.AWAY:
                    # Somebody took the line out by hand: that means home as well.
                    await self._home(lender)
                elif lender is not None and trio.current_time() - lender.began > REMEMBER:
                    self._lender = None
                    await self._settle()
                elif lender is not None:
                    lender.stay_diverted()
            case Order(back=True), None:
                await self._forget()
            case Order(back=True), Lender():
                if lender.state is State.AWAY:
                    await self._home(lender)
                await self._forget()
            case Order(), Lender() if lender.state is State.AWAY and lender.order.to != order.to:
                # The row names another one now: connections move from home alone.
                await self._home(lender)
            case Order(), Lender() if lender.state is State.AWAY:
                try:
                    await lender.be_away()
                except MoveFailed as failure:
                    # As long as it is ordered it is tried again: the sibling may come back. It knows nothing then.
                    self._fresh = False
                    self._fail(order, str(failure))
            case Order(), _:
                self._tried = self._tried if self._ordered == order else 0.0
                self._ordered = order
                if trio.current_time() >= self._tried:
                    await self._leave(node, order)
                    self._tried = trio.current_time() + AGAIN

    async def _leave(self, node: NodeHandle, order: Order) -> None:
        problem = self._unfit(node, order)
        if not problem:
            self._lender = self._make(node, order)
            self._lender.state = State.COPYING
            try:
                await self._lender.leave()
            except MoveFailed as failure:
                problem, self._lender = str(failure), None
                await self._settle()
        self._problem = ""
        if problem:
            self._fail(order, problem)

    def _fail(self, order: Order, problem: str) -> None:
        self._problem, self._ordered = problem, order
        self._tried = trio.current_time() + AGAIN
        log.error("is not drained", to=order.to, problem=problem)

    def _unfit(self, node: NodeHandle, order: Order) -> str:
        situation = node.situation()
        nodes = situation.topology.nodes
        other = nodes.get(order.to)
        if other is None or order.to == situation.node or other.region != nodes[situation.node].region:
            return f"{order.to} is no other gateway of the region {nodes[situation.node].region}: name one with --to"
        if self._host is not None and self._host.lease is not None:
            return f"it serves the flows of {self._host.lender}: undrain that one first"
        return ""

    async def _home(self, lender: Lender) -> None:
        try:
            await lender.come_back()
        except MoveFailed as failure:
            self._problem = str(failure)
            log.error("connections did not come home", problem=self._problem)

    def _make(self, node: NodeHandle, order: Order) -> Lender:
        assert node.flows is not None

        def stays() -> tuple[str, ...]:
            situation = node.situation()
            return self._stays(situation.topology, situation.node)

        return Lender(node, node.flows, order, self._settle, stays, self._let_go, self._moved, self._orders)

    async def _forget(self) -> None:
        """The order is done. A busy disk may take its time, which connections do not have."""
        if self._file is None:
            return
        try:
            await trio.to_thread.run_sync(write_order, self._file, self._name, None)
        except OSError as error:
            problem = f"{self._file} cannot be written ({error.strerror}): take out the line of {self._name}"
            if problem != self._problem:
                log.error("is home, and the order stays", problem=problem)
            self._problem = problem

    def _read(self, topology: Topology) -> Order | None:
        if self._file is None:
            return None
        try:
            return order_of(topology, self._name, read_orders(self._file), self._wall())
        except OSError as error:
            log.error("drains cannot be read", file=str(self._file), problem=str(error))
            return self._order

    async def _settle(self) -> None:
        node = self._node
        assert node is not None
        await self._lodge(self.standing(node.situation().topology).guests)
        node.replan()
        situation = node.situation()
        pools = situation.topology.nodes[situation.node].snat_pools
        captured = self.captured(situation.topology, pools)
        if captured != self._captured and node.recapture is not None:
            await node.recapture()
        self._captured = captured
