"""What an edge says of content proxies that it misses."""

from __future__ import annotations

from math import inf
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from braid.missed import decode
from edge.missing import AGAIN, FOR, Missing
from edge.node import Edge
from tests.delegations import situation
from tests.topology.test_transfers import ROW, text
from topology.source import parse

if TYPE_CHECKING:
    from trio.testing import MockClock

TOPOLOGY = parse(text(ROW.replace("c-1, c-2", "c-1")), "net.yaml")


def test_it_is_said_a_few_times_and_not_for_long() -> None:
    missing, said = Missing(), []
    assert missing.next_timeout() == inf
    missing.down(51, 1.0)
    while (now := missing.next_timeout()) < inf:
        said += [(round(now, 3), node) for node in missing.due(now)]
    assert said[0] == (1.0, 51)
    assert said[1] == (1.0 + AGAIN, 51)
    assert len(said) == round(FOR / AGAIN)
    assert said[-1][0] <= 1.0 + FOR


def test_one_that_is_there_again_is_not_missed() -> None:
    missing = Missing()
    missing.down(51, 1.0)
    missing.down(52, 1.0)
    assert missing.due(1.0) == [51, 52]
    missing.up(51)
    missing.up(53)
    assert missing.due(1.0 + AGAIN) == [52]


async def test_gateways_hear_it_of_content_proxies_of_this_edge(autojump_clock: MockClock) -> None:
    said: list[tuple[str, int]] = []
    at = situation(TOPOLOGY, "e-1")
    node: Any = SimpleNamespace(
        situation=lambda: at, send_to_peer=lambda name, data: said.append((name, decode(data).node))
    )
    edge, number = Edge(Random(1)), {name: each.number for name, each in TOPOLOGY.nodes.items()}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(edge.say_missed, node)
        await trio.sleep(1.0)
        for other in ("g-1", "c-2"):
            edge.receive_neighbour(number[other], False, trio.current_time())
        await trio.sleep(1.0)
        assert said == []
        edge.receive_neighbour(number["c-1"], False, trio.current_time())
        await trio.sleep(1.5 * AGAIN)
        assert said == [("g-1", number["c-1"])] * 2
        edge.receive_neighbour(number["c-1"], True, trio.current_time())
        await trio.sleep(1.0)
        assert len(said) == 2
        nursery.cancel_scope.cancel()
