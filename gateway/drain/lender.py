"""The gateway that is drained: its flows, clients and servers go to the sibling, one after the other, and home again.

No step makes a packet wait. Flows are told first; while both gateways have a flow each of them serves what comes to it,
and a packet of a flow that is not there goes to the other one. So it does not matter when which client or server turns
to the sibling. ``docs/decisions/0025-drains.md`` says why so.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.moves import ID, Divert, Lease, Verdict, encode
from gateway.drain.carrier import Carrier, Entrusts, LetGo, Look, MoveFailed
from gateway.drain.state import GIVES, PHASES, State, of_lender
from gateway.drain.window import Receiving
from gateway.nat import peers_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from braid.core import FlowApi
    from braid.drained import Order
    from braid.moves import Diverted, Flows, Have, Leased
    from braid.role import NodeHandle
    from gateway.drain.state import Standing
    from topology.model import IPNetwork

log = logs.get(__name__)

REPEAT = 0.05
"""Seconds until an unanswered lease is said again."""
PATIENCE = 5.0
"""Seconds that the sibling may take for a step, or an edge."""
GONE = 3.0
"""Seconds without a session after which a sibling that has all is dead."""
OPENING = 5.0
"""Seconds that connections which are being opened are waited for."""
BEAT = 0.5
"""Seconds between messages that keep edges and sibling in step while all is there."""
ROUND = 0.1
QUIET = 5
"""Rounds without a packet until nothing comes here any more."""
STRAGGLERS = 20.0
"""Seconds that servers may take to turn to the sibling."""
HOMING = 60.0
"""Seconds that connections may take to come home that the sibling's stack has."""

WHY = {
    Verdict.REGION: "is of another region: drain to a gateway of the same one",
    Verdict.SHARDS: "has another number of shards: give both gateways the same `shards`",
    Verdict.LEAVING: "is drained itself: undrain it first, or name another one with --to",
    Verdict.OFF_LINK: "has no network with the SNAT pools: put it on the servers' network, or say --routed and route "
    "them to it",
    Verdict.CROWDED: "serves the flows of another gateway: undrain that one first, or name another one with --to",
}


class Lender:
    """``settle`` makes data plane and addresses follow ``standing``. ``stays`` names the applications whose connections
    the data plane does not know; ``let_go`` has the proxies give to it what can go on there; ``moved``: what content
    proxies have; ``orders``: numbers of messages to edges, each later than all that were said before."""

    def __init__(
        self,
        node: NodeHandle,
        flows: FlowApi,
        order: Order,
        settle: Callable[[], Awaitable[None]],
        stays: Callable[[], tuple[str, ...]],
        let_go: LetGo,
        moved: Entrusts,
        orders: Iterator[int],
    ) -> None:
        self.state = State.AWAY
        self.order = order
        self.look = Look(0, 0, 0)
        self.began = trio.current_time()
        self._node = node
        self._flows = flows
        self._settle = settle
        self._stays = stays
        self._let_go = let_go
        self._moved = moved
        self._restarted = False
        """The sibling is another process since this one last began to tell it."""
        self._alone = False
        """The sibling is gone: what is not known here nobody knows, and its client is to hear so."""
        self._name_drain()
        self._orders = orders
        self._home = next(orders)
        """The message that said so last, of coming home."""
        self._diverted: dict[int, int] = {}
        """By edge: the last order that it obeyed."""
        self._beat = 0.0
        self._seen = self.began
        """When there was a session with the sibling last."""
        self._news = trio.Event()

    def _name_drain(self) -> None:
        """Nothing that is said from now on is mistaken for what was said before."""
        self._id = secrets.token_bytes(ID)
        self._carrier = Carrier(self._node, self._flows, self.order.to, self._id)
        self._receiving = Receiving(self._id, self._take)
        self._leased: Leased | None = None

    @property
    def standing(self) -> Standing:
        found = of_lender(self.state, self._number)
        return replace(found, sibling=None) if self._alone else found

    @property
    def told(self) -> tuple[int, int]:
        """Flows that the sibling has taken, or this gateway has back, and that were refused."""
        way = self._receiving if self.state in (State.RETURNING, State.RETURNED, State.HOME) else self._carrier.sending
        return way.new, way.refused

    @property
    def again(self) -> int:
        """Pieces that the sibling was told once more, for want of an answer."""
        return self._carrier.sending.again

    def receive_restart(self) -> None:
        """The sibling has started again, and knows nothing of what it was told."""
        self._restarted = True

    def receive_leased(self, leased: Leased) -> None:
        if leased.id == self._id:
            self._leased = leased
            self._news.set()

    def receive_have(self, answer: Have) -> None:
        self._carrier.receive(answer)

    def receive_flows(self, piece: Flows) -> None:
        answer = self._receiving.receive(piece)
        if answer is not None:
            self._node.tell(self.order.to, encode(answer))

    def receive_diverted(self, edge: int, message: Diverted) -> None:
        if message.id == self._id:
            self._diverted[edge] = max(self._diverted.get(edge, 0), message.order)
            self._news.set()

    def give(self, connection: int, refused: Callable[[], None]) -> bool:
        """Whether the sibling is to be asked about a connection; ``refused`` is called if it does not want to be."""
        return self.state in GIVES and self._carrier.give(connection, self._pools, "all", refused)

    async def leave(self) -> None:
        """Returns when all that can go is with the sibling. MoveFailed: all that is known here goes on here."""
        self._check()
        pools = self._pools
        try:
            await self._be(State.COPYING)
            self.look = await self._carrier.copy(pools, "steady")
            await self._be(State.LEAVING)
            await self._copy_opened()
            await self._divert(self._number)
            await self._copy()
        except MoveFailed:
            await self._stay()
            raise
        try:
            await self._be(State.FOLLOWING)
            await self._copy_until_quiet()
            await self._be(State.AWAY)
        except MoveFailed:
            await self._take_back()
            raise
        self._seen = trio.current_time()
        log.info("drained", to=self.order.to, flows=self.told[0], seconds=round(trio.current_time() - self.began, 3))

    async def be_away(self) -> None:
        """Keep edges and sibling in step, and tell what can move now; to be called often. MoveFailed: the sibling is
        dead, and all that is known here goes on here."""
        now = trio.current_time()
        if now < self._beat:
            return
        self._beat = now + BEAT
        if self._node.situation().links.neighbour_up(self.order.to):
            self._seen = now
            if self._restarted:
                await self._leave_anew()
                return
        elif now - self._seen > GONE:
            await self._take_back()
            raise MoveFailed(f"{self.order.to} is gone: what it alone knew is lost, and this gateway serves again")
        else:
            return
        with suppress(MoveFailed):
            # A sibling that is silent has lost them, or will get them when it is there again.
            await self._copy()
        self._moved.entrust(self.order.to)
        self._node.tell(self.order.to, encode(self._lease()))
        self._say_divert(self._number)

    async def _leave_anew(self) -> None:
        """As after the sibling's death, but that it is there again: what is known here goes on by way of both."""
        log.warning("the sibling has started again, and is told all flows once more", sibling=self.order.to)
        self.began = trio.current_time()
        self._carrier.close()
        self._carrier.forget(everything=False)
        self._moved.reclaim()
        self._name_drain()
        self._restarted = False
        await self.leave()

    async def come_back(self) -> None:
        """Returns when all is here again. MoveFailed when the sibling is silent: what is known here goes on here."""
        self.began = trio.current_time()
        try:
            await self._be(State.RETURNING)
            await self._carrier.flush()
            await self._agree(STRAGGLERS, told=True)
        except MoveFailed:
            await self._take_back()
            raise
        self._carrier.forget(everything=False)
        await self._be(State.RETURNED, must=False)
        await self._divert(0)
        with suppress(MoveFailed):
            await self._agree(HOMING, told=True)
        await self._end()
        log.info("undrained", flows=self.told[0], seconds=round(trio.current_time() - self.began, 3))

    async def _take_back(self) -> None:
        """From a sibling that does not answer any more. What it has gone on with is beyond the windows known here, so
        these are not judged until what is in use has shown where it is."""
        self._carrier.forget(everything=False)
        self._moved.reclaim()
        self.state = State.RETURNED
        self._alone = not self._node.situation().links.neighbour_up(self.order.to)
        await self._settle()
        with suppress(MoveFailed):
            await self._divert(0)
        await trio.sleep(PATIENCE)
        await self._end()

    def stay_diverted(self) -> None:
        """Edges that were away when the clients came home are told."""
        if any(self._diverted.get(edge, 0) < self._home for edge in self._edges()):
            self._say_divert(0)

    @property
    def _number(self) -> int:
        return self._node.situation().topology.nodes[self.order.to].number

    @property
    def _pools(self) -> tuple[IPNetwork, ...]:
        situation = self._node.situation()
        return situation.topology.nodes[situation.node].snat_pools

    def _check(self) -> None:
        situation = self._node.situation()
        if not situation.links.neighbour_up(self.order.to):
            raise MoveFailed(f"there is no session with {self.order.to}: is it running, and UDP open between the two?")

    async def _be(self, state: State, *, must: bool = True) -> None:
        """Go over to a state, here and at the sibling: whoever takes something over is first."""
        self.state = state
        first_here = state in (State.RETURNED, State.COPYING, State.LEAVING)
        if first_here:
            await self._settle()
        try:
            await self._agree()
        except MoveFailed:
            if must:
                raise
        if not first_here:
            await self._settle()

    async def _end(self) -> None:
        """Nobody answers that; what is lost, the sibling's own patience makes good."""
        self.state = State.HOME
        self._carrier.close()
        self._moved.let_be()
        await self._settle()
        for _ in range(3):
            self._node.tell(self.order.to, encode(self._lease()))
            await trio.sleep(REPEAT)

    def _lease(self) -> Lease:
        situation = self._node.situation()
        shards = situation.topology.nodes[situation.node].shards
        asks = bool(self.look.opening or self.look.stay)
        return Lease(self._id, PHASES[self.state], shards, self.order.routed, asks, self._pools)

    async def _agree(self, patience: float = PATIENCE, *, told: bool = False) -> None:
        """Until the sibling has done what the lease says, or also has ``told`` all flows back."""
        lease, deadline = self._lease(), trio.current_time() + patience
        while trio.current_time() < deadline:
            if self._restarted:
                raise MoveFailed(f"{self.order.to} has started again meanwhile, and lost what it was told: try again")
            self._news = trio.Event()
            self._node.tell(self.order.to, encode(lease))
            with trio.move_on_after(REPEAT):
                await self._news.wait()
            leased = self._leased
            if leased is not None and leased.phase is lease.phase:
                if leased.verdict is not Verdict.GOOD:
                    raise MoveFailed(f"{self.order.to} {WHY[leased.verdict]}")
                if leased.told or not told:
                    return
                self._leased = None
                # It looks once in a while, and would answer the same at once.
                await trio.sleep(REPEAT)
        raise MoveFailed(f"{self.order.to} does not answer: see its log, and `braid status {self.order.to}`")

    async def _copy(self) -> None:
        self._let_go(self._pools, guests=False)
        self.look = await self._carrier.copy(self._pools, "all")

    async def _copy_opened(self) -> None:
        """What began before the others leave has to be told, too."""
        deadline = trio.current_time() + OPENING
        while True:
            await self._copy()
            if not self.look.opening or trio.current_time() > deadline:
                return
            await trio.sleep(ROUND / 4)

    async def _copy_until_quiet(self) -> None:
        quiet, deadline = 0, trio.current_time() + STRAGGLERS
        while quiet < QUIET and trio.current_time() < deadline:
            await trio.sleep(ROUND)
            await self._copy()
            left = self._moved.entrust(self.order.to)
            quiet = 0 if self.look.flows or left else quiet + 1
        if quiet < QUIET:
            log.warning("servers still answer by this gateway", remedy=f"route the SNAT pools to {self.order.to}")

    async def _divert(self, to: int) -> None:
        """Until all edges that are up send clients there."""
        order = self._say_divert(to)
        self._home = order if to == 0 else self._home
        with trio.move_on_after(PATIENCE):
            while missing := [edge for edge in self._edges() if self._diverted.get(edge, 0) < order]:
                self._news = trio.Event()
                with trio.move_on_after(REPEAT):
                    await self._news.wait()
                if missing:
                    self._say_divert(to, order)
            return
        raise MoveFailed("an edge does not follow: see `braid status` for its session with this gateway")

    def _edges(self) -> dict[int, str]:
        situation = self._node.situation()
        nodes = situation.topology.nodes
        names = peers_of(situation.topology, situation.node)
        return {int(nodes[name].number): name for name in names if situation.links.peer_up(name)}

    def _say_divert(self, to: int, order: int | None = None) -> int:
        if order is None:
            order = next(self._orders)
        message = encode(Divert(self._id, order, to, self._stays()))
        for name in self._edges().values():
            self._node.send_to_peer(name, message)
        return order

    async def _stay(self) -> None:
        """Back to before."""
        with trio.CancelScope(shield=True):
            with suppress(MoveFailed):
                await self._divert(0)
            await self._end()

    def _take(self, shard: int, piece: bytes) -> tuple[int, int, int]:
        return self._flows.take_flows(shard, piece)[:3]
