"""What an edge says wakes no gateway while the proxy's answer is awaited: it is heard before it is asked for again."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from braid.events import Control
from braid.transfer import RESEND, Numbers, Steered, TransferRequest, encode
from gateway.transfer.commands import AskEdge
from gateway.transfer.moving import Moving
from gateway.transfer.service import TransferService
from topology.values import socket_address

if TYPE_CHECKING:
    from trio.testing import MockClock

EDGE, PROXY, ID = 11, 51, bytes(16)


@pytest.mark.parametrize("said", [True, False])
async def test_an_edge_is_asked_again_only_if_it_has_not_spoken(
    nursery: trio.Nursery, autojump_clock: MockClock, said: bool
) -> None:
    asked: list[bytes] = []
    waiting: list[Control] = []

    def hear() -> None:
        while waiting:
            service.receive(waiting.pop(), trio.current_time())

    names = {EDGE: "edge-1", PROXY: "cache-1"}
    topology = SimpleNamespace(by_number=lambda number: SimpleNamespace(name=names[number]), transfers=())
    node: Any = SimpleNamespace(
        situation=lambda: SimpleNamespace(topology=topology, delegations={}), hear=hear, offers=None,
        changed=trio.Event,
        tell=lambda _name, _message: None, send_control=lambda _name, _message: True,
        send_to_peer=lambda _name, message: asked.append(message),
    )  # fmt: skip
    foreseen = SimpleNamespace(turned_down=None, hear=lambda _now: None, forget_plans=lambda: None)
    relay: Any = SimpleNamespace(foreseen=foreseen)
    service = TransferService(relay, *cast("Any", [None] * 3), rng=Random(1), wall=lambda: 0.0)
    now, ends = trio.current_time(), [socket_address(text, 0) for text in ("10.91.1.10:4000", "10.91.1.130:80")]
    service.moving[ID] = Moving(ID, "shop", *ends, "edge-1", "cache-1", PROXY, "", now, now, None)
    service.agent.begin(PROXY, TransferRequest(ID, 100, Numbers(1, 1), (0, 0), b"/", b""), now)
    [steer] = service.agent.steer_early(ID, now)
    assert isinstance(steer, AskEdge)
    await nursery.start(service.run, node)
    if said:
        waiting.append(Control(EDGE, False, encode(Steered(ID, steer.order, True))))
    await trio.sleep(4.5 * RESEND)
    assert len(asked) == (0 if said else 4)
    assert "stray" not in service.agent.counts
