"""A gateway asks a proxy about a connection while the one before, of the same ends, is still being offered."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio

from braid.transfer import Numbers, TransferRequest
from gateway.proxy.events import ClientData
from gateway.transfer import service as module
from gateway.transfer.moving import Moving
from gateway.transfer.service import TransferService
from gateway.transfer.state import State
from topology.values import socket_address

if TYPE_CHECKING:
    import pytest

EDGE, PROXY = 11, 51
CLIENT, VIP = (socket_address(text, 0) for text in ("10.91.1.10:4000", "10.91.1.130:80"))


async def test_the_one_before_is_given_up_before_the_edge_hears_of_the_next_one(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    names = {EDGE: "edge-1", PROXY: "cache-1"}
    topology = SimpleNamespace(
        by_number=lambda number: SimpleNamespace(name=names[number]), transfers=(), nodes={}, by_role=lambda _role: ()
    )
    situation = SimpleNamespace(topology=topology, delegations={})
    node: Any = SimpleNamespace(
        situation=lambda: situation, hear=lambda: None, offers=SimpleNamespace(), changed=trio.Event,
        tell=lambda _name, _message: None, send_control=lambda _name, _message: True,
        send_to_peer=lambda _name, _message: said.append("steer"),
        set_owner=lambda _client, _vip, owner, wait=True: bool(said.append(f"own {owner}") or wait),
    )  # fmt: skip
    planned: list[Any] = []
    answered: list[int] = []
    full = False
    foreseen = SimpleNamespace(
        turned_down=None, hear=lambda _now: None, offer_by=lambda *_: None, forget=lambda _id: None,
        is_turned_down=lambda _id: False, forget_plans=lambda: None,
        plan=lambda connection, _plan: planned.append(connection),
        asked=lambda _proxy: not full, answered=answered.append,
    )  # fmt: skip
    relay: Any = SimpleNamespace(foreseen=foreseen)
    service = TransferService(relay, *cast("Any", [None] * 3), rng=Random(1), wall=lambda: 0.0)

    def ask(*_words: Any) -> Any:
        said.append("ask")
        return SimpleNamespace(asked=True)

    def asked_by(_node: Any, asked: Any, id_: bytes, *_words: Any) -> tuple[Moving, TransferRequest]:
        moving = Moving(id_, "shop", asked.data.client, asked.data.vip, "edge-1", "cache-1", PROXY, "", 0.0, 0.0, None)
        return moving, TransferRequest(id_, 100, Numbers(1, 1), (0, 0), b"/", b"")

    monkeypatch.setattr(module, "ask", ask)
    monkeypatch.setattr(module, "asked_by", asked_by)
    await nursery.start(service.run, node)

    def offered(port: int) -> bytes:
        data = SimpleNamespace(client=socket_address(f"10.91.1.10:{port}", 0), vip=VIP)
        question: Any = SimpleNamespace(data=data, peer=PROXY)
        moving = service._ask(question, (0, None), True, trio.current_time())
        assert moving is not None
        return moving.id

    first, other = offered(4000), offered(4001)
    said.clear()
    second = offered(4000)
    assert said == ["steer", "ask", "steer"]
    assert [service.agent.state(id_) for id_ in (first, other, second)] == [State.ENDED, State.ASKING, State.ASKING]
    assert service.agent.counts["refused/client_reset"] == 1
    ends = [(socket_address(f"10.91.1.10:{port}", 0), VIP) for port in (4001, 4002)]
    connections = [SimpleNamespace(data=ClientData(*each, "edge-1", "fra", "shop")) for each in ends]
    for connection in connections:
        relay.begun(connection)
    assert planned == connections[1:], "where one has to make way Python decides"
    assert answered == [PROXY], "the one that made way"
    full = True
    question: Any = SimpleNamespace(data=SimpleNamespace(client=ends[1][0], vip=VIP), peer=PROXY)
    assert service._ask(question, (0, None), True, trio.current_time()) is None
    assert service.agent.counts["refused/busy"] == 1
