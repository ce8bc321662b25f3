"""Tells a gateway's flows to its sibling, while both go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from braid.moves import encode
from gateway.drain.window import AT_ONCE, Sending

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.core import FlowApi, Which
    from braid.moves import Have
    from braid.role import NodeHandle
    from topology.model import IPNetwork

PATIENCE = 5.0
"""Seconds without any answer after which the sibling counts as lost."""


class LetGo(Protocol):
    """Has the proxies give to the data plane what can go on there, of connections whose servers see addresses of these
    pools; and of those without a server all, or the ``guests`` among them."""

    def __call__(self, pools: tuple[IPNetwork, ...], *, guests: bool) -> None: ...


class Entrusts(Protocol):
    """Connections that content proxies have: another gateway decides about them when this one leaves."""

    def entrust(self, to: str) -> int:
        """Tell that one of what it has not heard of; to be called again and again. How many it has yet to answer."""
        ...

    def reclaim(self) -> None:
        """It is gone, or has forgotten all: what it was told is decided here."""
        ...

    def let_be(self) -> None:
        """This gateway does not leave any more, and what the other one has stays there."""
        ...


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
    """A TCP stack has their connections."""


class Carrier:
    def __init__(self, node: NodeHandle, flows: FlowApi, peer: str, ident: bytes) -> None:
        self.sending = Sending(ident)
        self._node = node
        self._flows = flows
        self._peer = peer
        self._since: dict[int, int] = {}
        """By shard: when its flows were looked at last."""
        self._given: dict[int, int] = {}
        """By number of the piece: connections that the sibling is to have alone when it has the piece."""
        self._refused: dict[int, Callable[[], None]] = {}
        """By connection: what is to be done if it does not take it."""
        self._heard = trio.Event()

    def receive(self, answer: Have) -> None:
        if self.sending.receive(answer) and (connection := self._given.pop(answer.number, None)) is not None:
            refused = self._refused.pop(connection)
            if answer.refused:
                refused()
            else:
                self._flows.leave_flow(connection)
        self._heard.set()

    def give(self, connection: int, pools: tuple[IPNetwork, ...], which: Which, refused: Callable[[], None]) -> bool:
        """Have the sibling ask its own control side about a connection, instead of this one. False if it is not one of
        these flows; ``refused`` is called when the sibling does not take it."""
        if connection in self._refused:
            return True
        told = self._flows.tell_flow(connection, [str(pool) for pool in pools], which)
        if told is None:
            return False
        self._refused[connection] = refused
        self._given[self.sending.put(told[0], [told[1]]) - 1] = connection
        self._push()
        return True

    def close(self) -> None:
        """Nobody answers any more: what was to be given is decided here."""
        for number in self._given:
            self.sending.withdraw(number)
        self._given = {}
        refused, self._refused = self._refused, {}
        for decide in refused.values():
            decide()

    async def copy(self, pools: tuple[IPNetwork, ...], which: Which) -> Look:
        """Tell what was used since the last call, at first all. Returns when the sibling has it. MoveFailed when it is
        silent."""
        flows = opening = stay = 0
        names = [str(pool) for pool in pools]
        for shard in range(self._shards()):
            since = self._since.get(shard, 0)
            place: int | None = 0
            began: int | None = None
            while place is not None:
                pieces, told, opens, stays, place, at = self._flows.copy_flows(shard, names, which, place, since)
                began = at if began is None else began
                flows, opening, stay = flows + told, opening + opens, stay + stays
                self.sending.put(shard, pieces)
                await self._send(backlog=AT_ONCE)
            self._since[shard] = began or 0
        await self._send(backlog=0)
        return Look(flows, opening, stay)

    async def flush(self) -> None:
        """Returns when the sibling has all that it was told. MoveFailed when it is silent."""
        await self._send(backlog=0)

    def forget(self, *, everything: bool) -> None:
        """What only the sibling knows of, or (``everything``) what was ever with it, as far as somebody decides about
        it one day."""
        for shard in range(self._shards()):
            place: int | None = 0
            while place is not None:
                place = self._flows.forget_given(shard, place, everything)

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
            self._push()
            with trio.move_on_at(self.sending.next_timeout() or now):
                await self._heard.wait()
                heard_at = trio.current_time()
        await trio.lowlevel.checkpoint()

    def _push(self) -> None:
        for piece in self.sending.due(trio.current_time()):
            self._node.tell(self._peer, encode(piece))
