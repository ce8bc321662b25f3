"""Two session managers over an in-memory network that loses, delays, duplicates and reorders, with fake handshakes."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from random import Random

from braid.events import Down, Established, Initiation, Rekey, Up
from braid.session import Accept, Close, Command, Initiate, Relation, SessionManager, Standing

HEARTBEAT = 0.1
SILENCE = 0.6
TICK = 0.05


@dataclass
class Endpoint:
    """What the core does for one session: single-use handshakes, newest keys win, silence detection."""

    number: int
    peer: int
    rng: Random
    boot: int
    manager: SessionManager = field(init=False)
    keys: set[int] = field(default_factory=set)
    sending: int | None = None
    offered: dict[int, int] = field(default_factory=dict)
    pending: dict[int, int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    heard: float | None = None
    up: bool = False
    epoch: int = 0
    initiated: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.manager = SessionManager(self.rng)

    @property
    def relation(self) -> Relation:
        return Relation(self.peer, True)


class Network:
    def __init__(self, seed: int, *, both_initiate: bool = True) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.loss = 0.0
        self.duplicate = 0.0
        self.cut: set[int] = set()
        self.refusal: str | None = None
        self.flying: list[tuple[float, int, int, str, int]] = []
        self.ids = itertools.count(1)
        self.both = both_initiate
        self.ends: dict[int, Endpoint] = {}
        self.restart(1)
        self.restart(2)

    def restart(self, number: int) -> None:
        peer = 3 - number
        end = Endpoint(number, peer, Random(self.rng.random()), next(self.ids))
        self.ends[number] = end
        standing = Standing(can_initiate=self.both or number == 1)
        self.carry_out(end, end.manager.set_peers({end.relation: standing}, self.now))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TICK
            while self.flying and self.flying[0][0] <= self.now:
                _, _, destination, kind, handshake = heapq.heappop(self.flying)
                self.deliver(self.ends[destination], kind, handshake)
            for endpoint in self.ends.values():
                self.turn(endpoint)

    def turn(self, end: Endpoint) -> None:
        if end.sending is not None:
            self.send(end, "data", end.sending)
        if end.up and end.heard is not None and self.now - end.heard > SILENCE:
            end.up = False
            self.carry_out(end, end.manager.receive(Down(end.peer, True), self.now))
        due = end.manager.next_timeout()
        if due is not None and due <= self.now:
            self.carry_out(end, end.manager.handle_timeout(self.now))

    def send(self, end: Endpoint, kind: str, handshake: int) -> None:
        if end.number in self.cut:
            return
        copies = 2 if self.rng.random() < self.duplicate else 1
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                delay = self.rng.uniform(0.001, 0.12)
                heapq.heappush(self.flying, (self.now + delay, next(self.ids), end.peer, kind, handshake))

    def deliver(self, end: Endpoint, kind: str, handshake: int) -> None:
        if kind == "initiation" and handshake not in end.seen:
            end.seen.add(handshake)
            number = next(self.ids)
            end.offered[number] = handshake
            event = Initiation(number, end.peer, True, b"key", b"certificate")
            self.carry_out(end, end.manager.receive_initiation(event, self.refusal, self.now))
        elif kind == "response" and handshake in end.pending:
            del end.pending[handshake]
            self.install(end, handshake, initiator=True)
        elif kind == "data" and handshake in end.keys:
            end.heard = self.now
            if end.sending is None or (end.sending != handshake and handshake in end.offered.values()):
                end.offered = {key: value for key, value in end.offered.items() if value != handshake}
                self.install(end, handshake, initiator=False)
            elif not end.up:
                end.up = True
                self.carry_out(end, end.manager.receive(Up(end.peer, True), self.now))

    def install(self, end: Endpoint, handshake: int, initiator: bool) -> None:
        end.keys.add(handshake)
        end.sending = handshake
        end.heard = self.now
        end.up = True
        end.epoch += 1
        boot = self.ends[end.peer].boot
        established = Established(end.peer, True, end.epoch % 256, initiator, boot)
        self.carry_out(end, end.manager.receive(established, self.now))

    def carry_out(self, end: Endpoint, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Initiate():
                    end.initiated.append(self.now)
                    handshake = next(self.ids)
                    end.pending = {handshake: handshake}
                    self.send(end, "initiation", handshake)
                case Accept(number):
                    handshake = end.offered[number]
                    end.keys.add(handshake)
                    self.send(end, "response", handshake)
                case Close():
                    end.keys.clear()
                    end.sending = None
                    end.up = False
                case _:
                    pass

    def rekey(self, number: int) -> None:
        end = self.ends[number]
        self.carry_out(end, end.manager.receive(Rekey(end.peer, True), self.now))

    def both_up(self) -> bool:
        return all(end.manager.is_up(end.peer, True) and end.up for end in self.ends.values())
