from __future__ import annotations

from dataclasses import replace
from math import inf
from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing

from braid.moves import Lease, Leased, Phase, decode
from gateway.drain.host import ROUND, Host


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def next_deadline() -> float:
    return trio.lowlevel.current_statistics().seconds_to_next_deadline


async def test_without_a_lease_nothing_wakes_up_and_with_one_flows_are_told_back_again_and_again() -> None:
    said: list[Any] = []
    nodes = {
        name: SimpleNamespace(number=number, region="gw", shards=1) for name, number in (("gw-a", 31), ("gw-b", 32))
    }
    node = SimpleNamespace(
        tell=lambda _to, message: said.append(decode(message)),
        situation=lambda: SimpleNamespace(topology=SimpleNamespace(nodes=nodes), node="gw-b"),
    )

    async def follow() -> None:
        return

    forgotten: list[tuple[int, int, bool]] = []
    flows = SimpleNamespace(forget_given=lambda *words: forgotten.append(words))
    host = Host(cast("Any", node), cast("Any", flows), follow, lambda _pools: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        await settle()
        assert next_deadline() == inf
        lease = Lease(bytes(8), Phase.COPYING, shards=1, routed=True, asks=False, pools=())
        host.receive_lease("gw-a", lease, leaving=False, now=trio.current_time())
        await settle()
        assert isinstance(said[-1], Leased)
        assert next_deadline() <= ROUND
        host.receive_lease("gw-a", replace(lease, phase=Phase.ENDED), leaving=False, now=0.0)
        await trio.sleep(2 * ROUND)
        await settle()
        assert next_deadline() == inf
        assert forgotten == [(0, 0, True)], "what the lender may have gone on with is not served here any more"
        nursery.cancel_scope.cancel()
