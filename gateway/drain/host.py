"""The other side of a drain: a gateway that takes over the flows of its sibling, and tells them back."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.addresses import plan_capture, read_interfaces
from braid.moves import Have, Leased, Phase, Verdict, encode
from gateway.drain.carrier import Carrier, LetGo, Look, MoveFailed
from gateway.drain.state import AT_HOME, PHASES_GIVING, Standing, of_host
from gateway.drain.window import Receiving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from braid.core import FlowApi
    from braid.moves import Flows, Lease
    from braid.role import NodeHandle

log = logs.get(__name__)

SILENT = 15.0
"""Seconds after which a lender that was only copying is given up."""
ROUND = 0.1
"""Seconds between looks at what changed while flows are told back."""


class Host:
    """``settle`` makes data plane and addresses follow ``standing``; ``let_go`` has the proxies give to the data plane
    what can go on there."""

    def __init__(
        self,
        node: NodeHandle,
        flows: FlowApi,
        settle: Callable[[], Awaitable[None]],
        let_go: LetGo,
    ) -> None:
        self.standing: Standing = AT_HOME
        self.lender = ""
        self.lease: Lease | None = None
        self.why = ""
        """Of the last flow that was refused."""
        self._node = node
        self._flows = flows
        self._settle = settle
        self._let_go = let_go
        self._settled: Lease | None = None
        self._verdict = Verdict.GOOD
        self._told = False
        self._heard = 0.0
        self._receiving: Receiving | None = None
        self._carrier: Carrier | None = None
        self._news = trio.Event()
        self._leased = trio.Event()
        """Set while there is a lease: without one nothing here wakes up."""

    @property
    def taken(self) -> int:
        return self._receiving.new if self._receiving else 0

    @property
    def refused(self) -> int:
        return self._receiving.refused if self._receiving else 0

    def receive_lease(self, lender: str, lease: Lease, leaving: bool, now: float) -> None:
        """``leaving``: this gateway is being drained itself."""
        verdict = self._judge(lender, lease, leaving)
        if verdict is not Verdict.GOOD:
            if lease.phase is not Phase.ENDED:
                self._node.tell(lender, encode(Leased(lease.id, lease.phase, verdict, False)))
            return
        before, self._heard = self.lease, now
        if before is None and lease.phase is Phase.ENDED:
            return
        if before is None or (before.id != lease.id and lease.phase is Phase.COPYING):
            self._receiving = Receiving(lease.id, self._take)
            log.info("takes over the flows of a gateway", lender=lender, pools=[str(pool) for pool in lease.pools])
        if before is None or (before.id, before.phase) != (lease.id, lease.phase):
            self._told = False
        self.lender, self.lease = lender, lease
        self._leased.set()
        if lease != self._settled:
            self._news.set()
        else:
            self._node.tell(lender, encode(Leased(lease.id, lease.phase, self._verdict, self._told)))

    def receive_flows(self, lender: str, piece: Flows) -> None:
        if self._receiving is None or lender != self.lender:
            return
        answer = self._receiving.receive(piece)
        if answer is not None:
            self._node.tell(lender, encode(answer))

    def receive_have(self, lender: str, answer: Have) -> None:
        if self._carrier is not None and lender == self.lender:
            self._carrier.receive(answer)

    def give(self, connection: int, refused: Callable[[], None]) -> bool:
        """Whether the lender is to be asked about a connection; ``refused`` is called if it does not want to be."""
        lease, carrier = self.lease, self._carrier
        if lease is None or carrier is None or lease.phase not in PHASES_GIVING:
            return False
        if not self._node.situation().links.neighbour_up(self.lender):
            return False
        return carrier.give(connection, lease.pools, "guests", refused)

    async def run(self) -> None:
        """Follow the lender. Never returns."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_back)
            while True:
                self._news = trio.Event()
                lease = self.lease
                if lease is not None and lease != self._settled:
                    await self._follow(lease)
                    continue
                with trio.move_on_after(inf if lease is None else 1.0):
                    await self._news.wait()
                lease = self.lease
                quiet = trio.current_time() - self._heard > SILENT
                if lease is not None and lease.phase is Phase.COPYING and quiet:
                    log.warning("a gateway that was to be drained is silent", lender=self.lender)
                    await self._end()

    async def _follow(self, lease: Lease) -> None:
        self._verdict = Verdict.GOOD
        if lease.phase is Phase.COPYING and not lease.routed:
            found = plan_capture(lease.pools, await read_interfaces())
            answered = {address for address, _ in found.proxies}
            if not all(pool.network_address in answered for pool in lease.pools):
                self._verdict = Verdict.OFF_LINK
        if lease.phase is Phase.ENDED:
            await self._end()
            return
        number = self._node.situation().topology.nodes[self.lender].number
        if self._verdict is Verdict.GOOD:
            self.standing = of_host(lease.phase, number, lease.asks, lease.pools)
            await self._settle()
        if self.lease is lease or self.lease == lease:
            self._settled = lease
            self._node.tell(self.lender, encode(Leased(lease.id, lease.phase, self._verdict, self._told)))

    async def _end(self) -> None:
        if self._carrier is not None:
            with suppress(MoveFailed):
                await self._carrier.flush()
            self._carrier.close()
        Carrier(self._node, self._flows, self.lender, b"").forget(everything=True)
        self.standing, self.lease, self._settled = AT_HOME, None, None
        self._leased = trio.Event()
        self._receiving = self._carrier = None
        log.info("serves no flows of another gateway any more", lender=self.lender)
        self.lender = ""
        await self._settle()

    async def _tell_back(self) -> None:
        """While the lender wants its flows back, tell it what it lacks, again and again."""
        while True:
            await self._leased.wait()
            await trio.sleep(ROUND)
            lease = self.lease
            if lease is None or lease != self._settled or lease.phase not in PHASES_GIVING:
                continue
            carrier = self._carrier_of(lease)
            try:
                self._let_go(lease.pools, guests=True)
                look = await carrier.copy(lease.pools, "guests")
            except MoveFailed as failure:
                log.warning("flows cannot be told back", problem=str(failure))
                carrier.close()
                continue
            # What a stack has, or is to get, would be lost with the lease.
            self._told = lease.phase is Phase.RETURNING or look == Look(0, 0, 0)

    def _carrier_of(self, lease: Lease) -> Carrier:
        """The same one for all of a lease: the lender knows pieces by their numbers."""
        if self._carrier is None or self._carrier.sending.id != lease.id:
            if self._carrier is not None:
                self._carrier.close()
            self._carrier = Carrier(self._node, self._flows, self.lender, lease.id)
        return self._carrier

    def _judge(self, lender: str, lease: Lease, leaving: bool) -> Verdict:
        situation = self._node.situation()
        nodes = situation.topology.nodes
        if nodes[lender].region != nodes[situation.node].region:
            return Verdict.REGION
        if lease.shards != nodes[situation.node].shards:
            return Verdict.SHARDS
        if leaving:
            return Verdict.LEAVING
        if self.lender not in ("", lender):
            return Verdict.CROWDED
        return Verdict.GOOD

    def _take(self, shard: int, piece: bytes) -> tuple[int, int, int]:
        new, again, refused, why = self._flows.take_flows(shard, piece)
        self.why = why or self.why
        return new, again, refused
