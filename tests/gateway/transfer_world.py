"""A gateway, a content proxy, and messages between them that are lost, late and out of order; and what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from braid.transfer import Numbers, Reason, TransferMessage, TransferRequest, decode, encode
from content import agent as proxy_side
from content.agent import ProxyAgent
from gateway.transfer import agent as gateway_side
from gateway.transfer.agent import TransferAgent

GATEWAY, PROXY = 31, 51
NUMBERS = Numbers(1000, 2000)


def request(number: int) -> TransferRequest:
    content = b"http://shop.apps.example/%d" % number
    return TransferRequest(number.to_bytes(16, "big"), 100, NUMBERS, (1, 2), content, b"record")


@dataclass
class Connection:
    """What became of one client's connection. ``socket`` is the proxy's: none, frozen or live."""

    began: float
    owner: str = "held"
    socket: str = "none"
    done: float | None = None
    """When the client was served by either."""
    server_ended: int = 0
    reset: bool = False
    back: bool = False


@dataclass
class World:
    """``plan`` says what the proxy answers to a request: "accept", "refuse", "mismatch" or "nothing"."""

    plan: str = "accept"
    now: float = 0.0
    gateway: TransferAgent = field(default_factory=TransferAgent)
    proxy: ProxyAgent = field(default_factory=ProxyAgent)
    connections: dict[bytes, Connection] = field(default_factory=dict)
    flying: list[tuple[str, TransferMessage]] = field(default_factory=list)
    """To whom, and what."""
    considered: list[bytes] = field(default_factory=list)

    def begin(self, number: int) -> bytes:
        asked = request(number)
        self.connections[asked.id] = Connection(self.now)
        self.at_gateway(self.gateway.begin(PROXY, asked, self.now))
        return asked.id

    def deliver(self, index: int) -> None:
        where, message = self.flying.pop(index)
        message = decode(encode(message))
        if where == "proxy":
            self.at_proxy(self.proxy.receive(GATEWAY, message, self.now))
        else:
            self.at_gateway(self.gateway.receive(PROXY, message, self.now))

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
                case gateway_side.Send(_, message):
                    self.flying.append(("proxy", message))
                case gateway_side.Release(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "held", "the origin gets only what nobody else got"
                    assert connection.socket != "live"
                    connection.owner, connection.done = "origin", self.now
                case gateway_side.Steer(id_):
                    assert self.connections[id_].owner == "held"
                    self.connections[id_].owner = "proxy"
                case gateway_side.EndServer(id_, _, sequence):
                    assert self.connections[id_].owner == "proxy"
                    assert sequence == NUMBERS.receive_next
                    self.connections[id_].server_ended += 1
                case gateway_side.TakeBack(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "proxy"
                    assert connection.socket == "returning"
                    connection.owner, connection.back = "gateway", True
                    self.at_gateway(self.gateway.taken_back(id_, True, self.now))
                case gateway_side.Lost(id_):
                    assert self.connections[id_].owner == "proxy"
                    self.connections[id_].reset = True

    def at_proxy(self, commands: list[proxy_side.Command]) -> None:
        for command in commands:
            match command:
                case proxy_side.Send(_, message):
                    self.flying.append(("gateway", message))
                case proxy_side.Consider(_, asked):
                    self.considered.append(asked.id)
                case proxy_side.Start(id_):
                    connection = self.connections[id_]
                    assert connection.owner == "proxy", "it may emit only when the client's packets come to it"
                    assert connection.socket == "frozen"
                    connection.socket, connection.done = "live", self.now
                case proxy_side.Discard(id_):
                    assert self.connections[id_].socket in ("frozen", "returning")
                    self.connections[id_].socket = "none"
                case proxy_side.KeepOn(id_):
                    assert self.connections[id_].socket == "returning"
                    self.connections[id_].socket = "live"
