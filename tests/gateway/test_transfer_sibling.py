"""A gateway that leaves, its sibling, a content proxy and an edge: who decides about what the proxy has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from bench import drain as bench
from braid.entrusted import Entrust, Entrusted, Follow, decode, is_entrusting
from braid.tcp.record import encode_record
from braid.transfer import (
    IF_GONE,
    Numbers,
    Return,
    Send,
    Steer,
    Steered,
    TransferAbort,
    TransferMessage,
    TransferRequest,
)
from braid.transfer_parts import Assembler
from braid.transfer_progress import Promised, Seen
from content.agent import Command as ProxyCommand
from content.agent import Discard, Follows, ProxyAgent
from content.agent import State as ProxyState
from gateway.transfer import commands
from gateway.transfer.agent import TransferAgent
from gateway.transfer.entrusting import PATIENCE
from gateway.transfer.moving import Moving
from gateway.transfer.sibling import Clocks, Sibling
from gateway.transfer.state import COMMIT_FOR, State
from tests.braid.test_transfer_messages import RECORD
from topology.source import parse

TICK = 0.001
PROXY = 51
FOUND = bench.document("sibling")
FOUND["regions"]["cache"] = {"role": "content"}
FOUND["nodes"]["cache-1"] = {"region": "cache", "underlay": ["10.90.0.51"], "content": {
    "listen": ["10.91.1.80"], "directory": "/nowhere", "applications": ["http"]}}  # fmt: skip
FOUND["transfers"] = [{"application": "http", "proxies": ["cache-1"], "path": "/"}]
TOPOLOGY = parse(yaml.safe_dump(FOUND), "net.yaml")
PROXY, EDGE = TOPOLOGY.nodes["cache-1"].number, TOPOLOGY.nodes[bench.EDGE].number
A, B = TOPOLOGY.nodes[bench.GATEWAY].number, TOPOLOGY.nodes[bench.SIBLING].number
NUMBERS = Numbers(RECORD.send_next, RECORD.receive_next - len(RECORD.unread))
PROMISED = Promised(bytes(16), 1, 2, b"head", 0, 10, 10, b'"1"', last=False, request=b"")


@dataclass
class Gateway:
    world: World
    number: int
    reached: bool = True
    agent: TransferAgent = field(default_factory=TransferAgent)
    moving: dict[bytes, Moving] = field(default_factory=dict)
    did: list[commands.Command] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sibling = Sibling(self.agent, self.moving, self.carry_out, lambda _, owner: self.owners.append(owner))
        links = SimpleNamespace(neighbour_up=lambda _name: self.reached)
        node = TOPOLOGY.by_number(self.number)
        assert node is not None
        situation = SimpleNamespace(topology=TOPOLOGY, node=node.name, links=links)
        tell = lambda name, data: self.world.send(self.number, TOPOLOGY.nodes[name].number, data)  # noqa: E731
        self.node = cast("Any", SimpleNamespace(situation=lambda: situation, tell=tell))

    def carry_out(self, wanted: list[commands.Command], now: float) -> None:
        for command in wanted:
            match command:
                case Send(peer, message):
                    self.world.send(self.number, peer, message)
                case commands.AskEdge(id_, order, node):
                    steer = Steer(id_, order, node, RECORD.remote, RECORD.local)
                    self.world.send(self.number, EDGE, steer)
                case commands.Claim(id_, peer):
                    self.sibling.claim(self.node, peer, id_)
                case commands.TakeBack(id_):
                    taken = [] if id_ in self.sibling else self.agent.taken_back(id_, self.number == B, now)
                    self.carry_out(taken, now)
                case _:
                    self.did.append(command)

    def receive(self, sender: int, message: Any, now: float) -> None:
        match message:
            case Entrust() | Entrusted():
                self.sibling.receive(self.node, sender, message, Clocks(now, now), self.number == A)
            case Steered():
                self.carry_out(self.agent.receive_steered(message, now), now)
            case Promised():
                self.moving[message.id].promise(message)
                self.sibling.promised(self.node, message.id, now)
            case _:
                self.carry_out(self.agent.receive(sender, message, now), now)

    def lose_proxy(self) -> None:
        self.reached = False
        self.carry_out(self.agent.receive_down(PROXY, self.world.now, self.sibling), self.world.now)

    def advance(self, now: float) -> None:
        self.carry_out(self.agent.handle_timeout(now), now)
        self.sibling.handle_timeout(self.node, now)

    def count(self, kind: type) -> int:
        return sum(isinstance(each, kind) for each in self.did)


@dataclass
class World:
    """Messages take a millisecond, and are lost with ``loss``. The edge does what each gateway says."""

    loss: float = 0.0
    seed: int = 1
    now: float = 0.0
    alive: bool = True
    """The proxy."""
    owner: int = PROXY
    decides: int = A
    proxy: ProxyAgent = field(default_factory=ProxyAgent)
    at_proxy: list[ProxyCommand] = field(default_factory=list)
    flying: list[tuple[int, int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng, self.parts = Random(self.seed), Assembler()
        self.a, self.b = Gateway(self, A), Gateway(self, B)
        self.ids = [self.move(number) for number in range(3)]

    def move(self, number: int) -> bytes:
        """The proxy has a connection by way of the first gateway."""
        record = replace(RECORD, unread=bytes(1500)) if number == 2 else RECORD
        request = TransferRequest(number.to_bytes(16), 100, NUMBERS, (1, 2), b"http://shop/", encode_record(record))
        self.carry_proxy_out(self.proxy.adopt(A, request, self.now))
        self.a.agent.adopt(PROXY, request, True, self.now)
        ends = RECORD.remote, RECORD.local
        self.a.moving[request.id] = Moving(
            request.id, "http", *ends, bench.EDGE, "cache-1", PROXY, "http://shop/", self.now, self.now, None,
            told=NUMBERS,
        )  # fmt: skip
        return request.id

    def send(self, sender: int, to: int, message: TransferMessage | bytes | Promised) -> None:
        self.flying.append((sender, to, message))

    def advance(self, seconds: float, tick: float = TICK) -> None:
        for _ in range(round(seconds / tick)):
            self.now += tick
            flying, self.flying = self.flying, []
            for sender, to, message in flying:
                if self.rng.random() >= self.loss:
                    self.deliver(sender, to, message)
            for gateway in (self.a, self.b):
                gateway.advance(self.now)
            if self.alive:
                self.carry_proxy_out(self.proxy.handle_timeout(self.now))

    def deliver(self, sender: int, to: int, message: Any) -> None:
        if isinstance(message, bytes):
            whole = self.parts.receive(sender, message, self.now)
            if whole is None:
                return
            assert is_entrusting(whole)
            message = decode(whole)
        if PROXY in (sender, to) and not self.alive:
            return
        if to == PROXY:
            follow = isinstance(message, Follow)
            self.carry_proxy_out(
                self.proxy.follow(sender, message.id, lambda *_: True, self.now)
                if follow
                else self.proxy.receive(sender, message, self.now)
            )
        elif to == EDGE:
            self.send(EDGE, sender, self.steer(sender, message))
        else:
            (self.a if to == A else self.b).receive(sender, message, self.now)

    def steer(self, gateway: int, steer: Steer) -> Steered:
        done = steer.node != IF_GONE or not self.alive
        if done and steer.node == PROXY:
            self.decides = gateway
        return Steered(steer.id, steer.order, done, Seen(spoken=True) if done and steer.node != PROXY else None)

    def carry_proxy_out(self, wanted: list[ProxyCommand]) -> None:
        for command in wanted:
            if isinstance(command, Send):
                self.send(PROXY, command.peer, command.message)
            else:
                self.at_proxy.append(command)

    def peers(self) -> set[int]:
        return {self.proxy.asked(id_)[0] for id_ in self.ids}


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_the_sibling_decides_about_all_that_moved_and_the_proxy_speaks_to_it(loss: float) -> None:
    world = World(loss)
    world.advance(0.2)
    assert world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now) == 3
    world.advance(1.0)
    assert world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now) == 0
    world.advance(1.0)
    assert {world.a.agent.state(id_) for id_ in world.ids} == {State.ENTRUSTED}
    assert {world.b.agent.state(id_) for id_ in world.ids} == {State.MOVED}
    assert (world.a.agent.open[PROXY], world.b.agent.open[PROXY]) == (0, 3)
    assert world.a.owners == [""] * 3, "what still comes of the clients is the sibling's"
    assert world.b.owners == ["away"] * 3
    assert (world.decides, world.peers()) == (B, {B})
    assert sorted({each.id for each in world.at_proxy if isinstance(each, Follows)}) == world.ids
    assert all(each.guest for each in world.b.moving.values())
    moving = world.b.moving[world.ids[0]]
    assert moving.began == pytest.approx(0.0, abs=0.25), "since it left the first one"
    world.advance(0.1)
    assert world.flying == [], "nobody says anything any more"


@pytest.mark.parametrize("dies", [0.0, 0.001, 0.002, 0.003, 0.005, 0.02, 0.5])
@pytest.mark.parametrize("noticed", ["a", "b"])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_one_of_both_goes_on_without_the_proxy_whenever_it_dies(dies: float, noticed: str, loss: float) -> None:
    for seed in range(5):
        world = World(loss, seed)
        world.advance(0.1)
        world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
        world.advance(dies)
        world.alive = False
        first, second = (world.a, world.b) if noticed == "a" else (world.b, world.a)
        first.lose_proxy()
        world.advance(0.01)
        second.lose_proxy()
        world.advance(0.2)
        world.advance(PATIENCE + 2 * COMMIT_FOR, 20 * TICK)
        went_on = [
            each.id for gateway in (first, second) for each in gateway.did if isinstance(each, commands.GoOn)
        ]  # fmt: skip
        assert sorted(went_on) == world.ids, (seed, went_on)
        assert world.a.count(commands.Lost) == world.b.count(commands.Lost) == 0


def test_what_a_proxy_gives_back_while_it_is_told_is_taken_by_the_sibling() -> None:
    world = World()
    world.advance(0.1)
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    for id_ in world.ids:
        world.carry_proxy_out(world.proxy.give_back(id_, NUMBERS, b"record", world.now))
    world.advance(0.1)
    assert world.b.count(commands.Resume) == 3
    assert [each.id for each in world.at_proxy if isinstance(each, Discard)] == world.ids
    assert world.a.count(commands.Resume) == 0


def test_what_the_proxy_says_to_the_one_that_leaves_the_other_one_hears() -> None:
    world = World()
    world.advance(0.1)
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    world.advance(0.002)
    world.a.receive(PROXY, PROMISED, world.now)
    world.advance(0.1)
    assert world.b.moving[world.ids[0]].promised == PROMISED


def test_without_a_sibling_that_takes_it_the_gateway_decides_as_before() -> None:
    world = World()
    world.advance(0.1)
    world.b.agent.is_full = lambda: True  # type: ignore[method-assign]
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    world.alive = False
    world.a.lose_proxy()
    assert world.a.agent.state(world.ids[0]) is State.MOVED, "the sibling may have it by now"
    world.advance(0.1)
    assert world.a.count(commands.GoOn) == 3
    assert world.b.moving == {}


def test_it_has_them_again_when_the_sibling_is_gone_and_not_otherwise() -> None:
    world = World()
    world.advance(0.1)
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    world.advance(0.1)
    world.a.sibling.reclaim(world.a.node, world.now)
    world.advance(0.1)
    assert (world.decides, world.peers()) == (A, {A})
    assert world.a.owners == ["", "", "", "away", "away", "away"]
    assert world.a.agent.open[PROXY] == 3
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    world.advance(0.1)
    world.a.sibling.let_be(world.now)
    world.a.sibling.reclaim(world.a.node, world.now)
    assert {world.a.agent.state(id_) for id_ in world.ids} == {State.ENDED}


def test_what_has_ended_at_the_proxy_is_over_at_the_sibling() -> None:
    world = World()
    world.advance(0.1)
    world.a.sibling.entrust(world.a.node, bench.SIBLING, world.now)
    world.carry_proxy_out(world.proxy.end(world.ids[0], world.now))
    world.advance(0.2)
    assert world.proxy.state(world.ids[0]) is ProxyState.ENDED
    assert world.b.agent.state(world.ids[0]) is not State.MOVED
    assert world.b.agent.open[PROXY] == 2


def test_another_gateway_than_a_sibling_entrusts_nobody_and_may_not_be_followed() -> None:
    world = World()
    world.advance(0.1)
    proxy = world.proxy
    assert proxy.follow(B, world.ids[0], lambda *_: False, world.now) == []
    assert proxy.follow(B, bytes([9] * 16), lambda *_: True, world.now) == [
        Send(B, TransferAbort(bytes([9] * 16), commands.Reason.ENDED))
    ]
    request = world.a.agent.request(world.ids[0])
    entrust = Entrust(PROXY, EDGE, 0, True, "http", request, None)
    world.b.sibling.receive(world.b.node, PROXY, entrust, Clocks(0.0, 0.0), leaves=False)
    assert (world.b.moving, world.b.agent.counts["stray"]) == ({}, 1)


def test_a_return_that_was_overtaken_is_said_to_the_one_that_is_followed() -> None:
    world = World()
    world.advance(0.1)
    world.carry_proxy_out(world.proxy.give_back(world.ids[0], NUMBERS, b"record", world.now))
    world.flying = []
    said = world.proxy.follow(B, world.ids[0], lambda *_: True, world.now)
    assert [type(each.message) for each in said if isinstance(each, Send) and each.peer == B][1:] == [Return]
