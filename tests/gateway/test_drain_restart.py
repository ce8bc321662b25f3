"""Two gateways in a drain: one starts again, or takes its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from braid.drained import Order
from braid.moves import Flows, Have, Lease, Leased, Phase, decode
from gateway.drain.carrier import MoveFailed
from gateway.drain.host import ROUND, Host
from gateway.drain.lender import GONE, Lender
from gateway.drain.state import State
from tests.gateway.moved import Moved
from topology.source import load

if TYPE_CHECKING:
    from trio.testing import MockClock

FLOWS = {b"one", b"two", b"three"}
TOPOLOGY = load(Path("topology/examples/two-gateways.yaml"))
A, B = "gw-1-1", "gw-1-2"


@dataclass
class Core:
    """Whose flows are words. Only a first look tells them all, and later ones what is ``used``."""

    flows: set[bytes] = field(default_factory=set)
    used: set[bytes] = field(default_factory=set)
    forgot: int = 0
    looks: int = 0

    def copy_flows(
        self, _shard: int, _pools: list[str], _which: str, _start: int, since: int
    ) -> tuple[list[bytes], int, int, int, None, int]:
        self.looks += 1
        told = sorted(self.used if since else self.flows | self.used)
        self.flows |= self.used
        self.used = set()
        return told, len(told), 0, 0, None, self.looks

    def take_flows(self, _shard: int, piece: bytes) -> tuple[int, int, int, str]:
        new = piece not in self.flows
        self.flows.add(piece)
        return int(new), int(not new), 0, ""

    def forget_given(self, _shard: int, _start: int, _everything: bool) -> None:
        self.forgot += 1


class Pair:
    """Two gateways whose messages arrive at once, and no edge that is up."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.is_up = True
        self.step = 0.0
        """Seconds that a step takes the second one."""
        self.core, self.moved = Core(set(FLOWS)), Moved(left=20)
        self.there = Core()
        self.leases: list[Lease] = []
        self.announced, self.returned = trio.Event(), trio.Event()
        self.begin_host()
        node = self._node(A, self._tell_b)
        order = Order(B, routed=True)
        self.lender = Lender(node, cast("Any", self.core), order, self._settle, tuple, _let_go, self.moved, count(1))

    def begin_host(self) -> None:
        """A new process of the second one."""
        self.there = Core()
        self._host = Host(self._node(B, self._tell_a), cast("Any", self.there), self._settle_there, _let_go)
        self._nursery.start_soon(self._host.run)

    def _node(self, name: str, tell: Any) -> Any:
        links = SimpleNamespace(neighbour_up=lambda _name: self.is_up, peer_up=lambda _name: False)
        situation = SimpleNamespace(topology=TOPOLOGY, node=name, links=links)
        return SimpleNamespace(situation=lambda: situation, tell=tell, send_to_peer=lambda *_words: True)

    async def _settle(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _settle_there(self) -> None:
        await trio.sleep(self.step)

    def _tell_a(self, _name: str, data: bytes) -> None:
        match decode(data):
            case Leased() as leased:
                self.lender.receive_leased(leased)
            case Have() as have:
                self.lender.receive_have(have)
            case Flows() as piece:
                self.lender.receive_flows(piece)

    def _tell_b(self, _name: str, data: bytes) -> None:
        match decode(data):
            case Lease() as lease:
                self.leases.append(lease)
                if lease.phase is Phase.ANNOUNCED:
                    self.announced.set()
                if lease.phase is Phase.RETURNED:
                    self.returned.set()
                self._host.receive_lease(A, lease, False, trio.current_time())
            case Flows() as piece:
                self._host.receive_flows(A, piece)
            case Have() as have:
                self._host.receive_have(A, have)


def _let_go(_pools: object, *, guests: bool) -> None:
    """Nobody has a connection of a proxy."""


async def test_a_sibling_that_has_started_again_is_told_all_flows_once_more(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        await pair.lender.leave()
        assert pair.there.flows == FLOWS
        assert pair.moved.left == 0, "the sibling has answered all"
        told = len(pair.moved.done)
        await pair.lender.be_away()
        pair.begin_host()
        pair.lender.receive_restart()
        await trio.sleep(1.0)
        before = len(pair.leases)
        await pair.lender.be_away()
        assert (pair.lender.state, pair.there.flows) == (State.AWAY, FLOWS)
        assert pair.moved.done[told : told + 3] == [f"entrust {B}", "reclaim", f"entrust {B}"]
        assert pair.core.forgot == 1, "what the sibling may have made of what it alone was asked about"
        again = pair.leases[before:]
        assert len({lease.id for lease in pair.leases[:before]}) == len({lease.id for lease in again}) == 1
        assert again[0].id != pair.leases[0].id, "answers to the process before are none to this drain"
        assert (again[0].phase, again[-1].phase) == (Phase.COPYING, Phase.AWAY)
        nursery.cancel_scope.cancel()


async def test_a_drain_in_whose_middle_the_sibling_starts_again_fails_and_the_pools_come_back(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)

        async def restart() -> None:
            await pair.announced.wait()
            pair.begin_host()
            pair.lender.receive_restart()

        nursery.start_soon(restart)
        with pytest.raises(MoveFailed, match=f"{B} has started again"):
            await pair.lender.leave()
        assert pair.lender.state is State.HOME
        assert pair.moved.done[-2:] == ["reclaim", "let_be"]
        nursery.cancel_scope.cancel()


async def test_what_only_a_dead_sibling_knows_is_not_passed_on_to_it(autojump_clock: MockClock) -> None:
    """So that clients are told: nobody else answers them."""
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        await pair.lender.leave()
        assert pair.lender.standing.sibling is not None
        pair.is_up = False
        await trio.sleep(GONE - 0.5)
        await pair.lender.be_away()
        assert pair.lender.standing.sibling is not None, "its session may be gone for a moment alone"
        await trio.sleep(1.0)
        with trio.move_on_after(0.1):
            await pair.lender.be_away()
        assert (pair.lender.state, pair.lender.standing.sibling) == (State.RETURNED, None)
        nursery.cancel_scope.cancel()


async def test_what_is_told_back_while_a_step_takes_long_is_taken(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        pair = Pair(nursery)
        await pair.lender.leave()
        pair.step = 3 * ROUND
        nursery.start_soon(pair.lender.come_back)
        await pair.returned.wait()
        pair.there.used.add(b"four")
        await trio.sleep(5)
        assert pair.lender.state is State.HOME
        assert pair.core.flows == FLOWS | {b"four"}
        nursery.cancel_scope.cancel()
