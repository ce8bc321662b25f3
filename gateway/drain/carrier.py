"""Tells a gateway's flows to its sibling, while both go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from braid.moves import encode
from gateway.drain.window import AT_ONCE, Sending

if TYPE_CHECKING:
    from braid.core import FlowApi
    from braid.moves import Have
    from braid.role import NodeHandle
    from topology.model import IPNetwork

PATIENCE = 5.0
"""Seconds without any answer after which the sibling counts as lost."""
NEVER = (1 << 64) - 1


class MoveFailed(Exception):
    """A drain cannot go on; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Look:
    """One pass over all flows."""

    flows: int
    """Told."""
    opening: int
    """Being opened, or owing a side something, so not to be moved now."""
    stay: int
    """A TCP stack has their connections, or is to get them again."""


class Carrier:
    def __init__(self, node: NodeHandle, flows: FlowApi, peer: str, ident: bytes) -> None:
        self.sending = Sending(ident)
        self._node = node
        self._flows = flows
        self._peer = peer
        self._since: dict[int, int] = {}
        """By shard: when its flows were looked at last."""
        self._heard = trio.Event()

    def receive(self, answer: Have) -> None:
        self.sending.receive(answer)
        self._heard.set()

    async def copy(self, pools: tuple[IPNetwork, ...]) -> Look:
        """Tell what was used since the last call, at first all. Returns when the sibling has it. MoveFailed when it is
        silent."""
        flows = opening = stay = 0
        names = [str(pool) for pool in pools]
        for shard in range(self._shards()):
            since = self._since.get(shard, 0)
            place: int | None = 0
            began: int | None = None
            while place is not None:
                pieces, told, opens, stays, place, at = self._flows.copy_flows(shard, names, place, since)
                began = at if began is None else began
                flows, opening, stay = flows + told, opening + opens, stay + stays
                self.sending.put(shard, pieces)
                await self._send(backlog=AT_ONCE)
            self._since[shard] = began or 0
        await self._send(backlog=0)
        return Look(flows, opening, stay)

    def count(self, pools: tuple[IPNetwork, ...]) -> Look:
        """The same, but tells nothing."""
        opening = stay = 0
        names = [str(pool) for pool in pools]
        for shard in range(self._shards()):
            place: int | None = 0
            while place is not None:
                _, _, opens, stays, place, _ = self._flows.copy_flows(shard, names, place, NEVER)
                opening, stay = opening + opens, stay + stays
        return Look(0, opening, stay)

    def _shards(self) -> int:
        situation = self._node.situation()
        return situation.topology.nodes[situation.node].shards

    async def _send(self, backlog: int) -> None:
        """Until at most so many pieces wait."""
        heard_at = trio.current_time()
        while self.sending.open > backlog:
            now = trio.current_time()
            if now - heard_at > PATIENCE:
                raise MoveFailed(f"{self._peer} does not answer: see its log, and `braid status {self._peer}`")
            self._heard = trio.Event()
            for piece in self.sending.due(now):
                self._node.tell(self._peer, encode(piece))
            with trio.move_on_at(self.sending.next_timeout() or now):
                await self._heard.wait()
                heard_at = trio.current_time()
        await trio.lowlevel.checkpoint()
