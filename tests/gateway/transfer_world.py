"""A gateway, a content proxy, an edge, and messages that are lost, late and out of order; and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from braid import entrusted
from braid.entrusted import Follow, is_entrusting
from braid.transfer import (
    IF_GONE,
    Numbers,
    Reason,
    Send,
    Steer,
    Steered,
    TransferMessage,
    TransferRequest,
    decode,
    encode,
    is_later,
)
from braid.transfer_parts import Assembler, split
from braid.transfer_progress import Seen
from content import agent as proxy_side
from content.agent import ProxyAgent
from gateway.transfer import commands as gateway_side
from gateway.transfer.agent import TransferAgent
from topology.model import SocketAddress

GATEWAY, PROXY = 31, 51
NUMBERS = Numbers(1000, 2000)
CLIENT = SocketAddress(IPv4Address("10.91.1.10"), 4000)
VIP = SocketAddress(IPv4Address("10.91.1.130"), 80)


def request(number: int) -> TransferRequest:
    """Each third one goes in two parts."""
    content = b"http://shop.apps.example/%d" % number
    record = bytes(1500) if number % 3 == 2 else b"record"
    return TransferRequest(number.to_bytes(16, "big"), 100, NUMBERS, (1, 2), content, record)


@dataclass
class Connection:
    """What became of one client's connection. ``socket`` is the proxy's: none, frozen or live."""

    began: float
    owner: str = "held"
    """At the gateway: held, origin, proxy (given up), retaking (held again), gateway; rescuing (held again, as the
    proxy seems to be gone), successor."""
    steered: str = "gateway"
    """At the edge: who gets the client's packets."""
    socket: str = "none"
    done: float | None = None
    """When the client was served by either."""
    server_ended: int = 0
    reset: bool = False
    back: bool = False


@dataclass
class World:
    """``plan`` says what the proxy answers to a request: "accept", "refuse", "mismatch" or "nothing". ``edge_plan``
    what the edge says: "obey", "refuse" or "nothing". ``early``: it is asked before the proxy answers. ``missed``: the
    edge does not reach the proxy. ``changed``: something came of the client before its packets were held. ``mute``:
    what the proxy serves has yet to begin."""

    plan: str = "accept"
    edge_plan: str = "obey"
    early: bool = False
    missed: bool = False
    changed: bool = False
    mute: bool = False
    now: float = 0.0
    gateway: TransferAgent = field(default_factory=TransferAgent)
    proxy: ProxyAgent = field(default_factory=ProxyAgent)
    edge: dict[bytes, int] = field(default_factory=dict)
    """The latest order that the edge has heard, by connection."""
    connections: dict[bytes, Connection] = field(default_factory=dict)
    flying: list[tuple[str, TransferMessage | Follow, bytes]] = field(default_factory=list)
    """To whom, what, and which part of it."""
    at_proxy_parts: Assembler = field(default_factory=Assembler)
    at_gateway_parts: Assembler = field(default_factory=Assembler)
    considered: list[bytes] = field(default_factory=list)

    def begin(self, number: int) -> bytes:
        asked = request(number)
        self.connections[asked.id] = Connection(self.now)
        if self.gateway.is_full():
            self.connections[asked.id].owner = "origin"
            return asked.id
        self.at_gateway(self.gateway.begin(PROXY, asked, self.now, asked=False))
        if self.early:
            self.at_gateway(self.gateway.steer_early(asked.id, self.now))
        return asked.id

    def deliver(self, index: int) -> None:
        where, _, part = self.flying.pop(index)
        parts = self.at_proxy_parts if where == "proxy" else self.at_gateway_parts
        whole = parts.receive(GATEWAY if where == "proxy" else PROXY, part, self.now)
        if whole is None:
            return
        if is_entrusting(whole):
            follow = entrusted.decode(whole)
            self.at_proxy(self.proxy.follow(GATEWAY, follow.id, lambda *_: False, self.now))
            return
        message = decode(whole)
        if where == "proxy":
            self.at_proxy(self.proxy.receive(GATEWAY, message, self.now))
        elif where == "edge":
            assert isinstance(message, Steer)
            self.at_edge(message)
        elif isinstance(message, Steered):
            self.at_gateway(self.gateway.receive_steered(message, self.now))
        else:
            self.at_gateway(self.gateway.receive(PROXY, message, self.now))

    def send(self, where: str, message: TransferMessage | Follow) -> None:
        data = entrusted.encode(message) if isinstance(message, Follow) else encode(message)
        self.flying += ((where, message, part) for part in split(data))

    def at_edge(self, message: Steer) -> None:
        if self.edge_plan == "nothing" or is_later(self.edge.get(message.id, message.order), message.order):
            return
        self.edge[message.id] = message.order
        done = self.edge_plan == "obey" and (message.node != IF_GONE or self.missed)
        connection = self.connections[message.id]
        seen = None
        if done:
            if connection.steered == "proxy" and message.node != PROXY:
                seen = Seen(spoken=connection.socket in ("live", "returning") and not self.mute)
            connection.steered = "proxy" if message.node == PROXY else "gateway"
        self.send("gateway", Steered(message.id, message.order, done, seen))

    def decide(self, id_: bytes) -> None:
        """The proxy has looked at a request."""
        self.considered.remove(id_)
        match self.plan:
            case "accept" | "mismatch":
                self.connections[id_].socket = "frozen"
                numbers = NUMBERS if self.plan == "accept" else Numbers(1, 2)
                self.at_proxy(self.proxy.accept(id_, numbers, self.now))
            case "refuse":
                self.at_proxy(self.proxy.refuse(id_, Reason.CONTENT, self.now))

    def give_back(self, id_: bytes) -> None:
        assert self.connections[id_].socket == "live"
        self.connections[id_].socket = "returning"
        self.at_proxy(self.proxy.give_back(id_, NUMBERS, b"record", self.now))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.at_gateway(self.gateway.handle_timeout(self.now))
        self.at_proxy(self.proxy.handle_timeout(self.now))

    def at_gateway(self, commands: list[gateway_side.Command]) -> None:
        for command in commands:
            match command:
                case Send(_, message):
                    self.send("proxy", message)
                case gateway_side.AskEdge(id_, order, node):
                    self.send("edge", Steer(id_, order, node, CLIENT, VIP))
                case gateway_side.Claim(id_):
                    self.send("proxy", Follow(id_))
                case gateway_side.Release(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "held", "the origin gets only what nobody else got"
                    assert connection.socket != "live"
                    connection.owner, connection.done = "origin", self.now
                case gateway_side.Confirm(id_):
                    assert self.connections[id_].owner == "held"
                    assert self.connections[id_].steered == "proxy", "the edge first"
                    problem = "not_quiescent" if self.changed else ""
                    self.at_gateway(self.gateway.confirmed(id_, problem, self.now))
                case gateway_side.GiveUp(id_):
                    assert self.connections[id_].owner == "held"
                    assert self.connections[id_].steered == "proxy", "the edge first"
                    self.connections[id_].owner = "proxy"
                case gateway_side.EndServer(id_, _, sequence):
                    assert self.connections[id_].owner == "proxy"
                    assert sequence == NUMBERS.receive_next
                    self.connections[id_].server_ended += 1
                case gateway_side.TakeBack(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "proxy"
                    assert connection.socket == "returning"
                    connection.owner = "retaking"
                    self.at_gateway(self.gateway.taken_back(id_, True, self.now))
                case gateway_side.Resume(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "retaking"
                    assert connection.steered == "gateway"
                    connection.owner, connection.back = "gateway", True
                case gateway_side.Hold(id_, held):
                    connection = self.connections[id_]
                    assert connection.owner == ("proxy" if held else "rescuing")
                    connection.owner = "rescuing" if held else "proxy"
                case gateway_side.GoOn(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "rescuing"
                    assert connection.steered == "gateway", "the edge first"
                    connection.owner, connection.done = "successor", self.now
                case gateway_side.Lost(id_):
                    assert self.connections[id_].owner in ("rescuing", "retaking")
                    self.connections[id_].reset = True

    def at_proxy(self, commands: list[proxy_side.Command]) -> None:
        for command in commands:
            match command:
                case Send(_, message):
                    self.send("gateway", message)
                case proxy_side.Consider(_, asked):
                    self.considered.append(asked.id)
                case proxy_side.Start(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "proxy", "it may emit only when the client's packets come to it"
                    assert connection.socket == "frozen"
                    connection.socket, connection.done = "live", self.now
                case proxy_side.Discard(id_):
                    connection = self.connections[id_]
                    assert connection.socket in ("frozen", "returning") or connection.owner == "successor"
                    self.connections[id_].socket = "none"
                case proxy_side.KeepOn(id_):
                    assert self.connections[id_].socket == "returning"
                    self.connections[id_].socket = "live"
