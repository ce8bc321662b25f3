"""The other gateway of a drain: it is entrusted with connections that content proxies have, or entrusts this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from braid.entrusted import Entrust, Entrusted, Follow, encode
from braid.errors import BadPacket
from braid.tcp.record import decode_record
from braid.transfer_mail import send
from gateway.transfer.entrusting import Entrusting
from gateway.transfer.moving import Moving
from gateway.transfer.state import State
from topology.graph import siblings

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import NodeHandle
    from gateway.transfer.agent import TransferAgent
    from gateway.transfer.commands import Command
    from topology.model import Topology

    CarryOut = Callable[[list[Command], float], None]
    Own = Callable[[Moving, str], object]

OLDEST = 0xFFFF_FFFF
"""Milliseconds."""


_TOLD = State.MOVED, State.ENTRUSTED


class Clocks(NamedTuple):
    now: float
    wall: float


class Sibling:
    """``moving``: all transfers of this gateway; ``carry_out`` does what the agent says, ``own`` tells the core."""

    def __init__(self, agent: TransferAgent, moving: dict[bytes, Moving], carry_out: CarryOut, own: Own) -> None:
        self._agent = agent
        self._moving = moving
        self._carry_out = carry_out
        self._own = own
        self._to = ""
        self._entrusting = Entrusting()

    def __contains__(self, id_: object) -> bool:
        """It may have that connection, and has not said so."""
        return id_ in self._entrusting

    def entrust(self, node: NodeHandle, to: str, now: float) -> int:
        """Tell it of all that moved, once. How many it has yet to answer."""
        if to != self._to:
            self._to, self._entrusting = to, Entrusting()
        self._entrusting.add(self._in(State.MOVED))
        self.handle_timeout(node, now)
        return len(self._entrusting)

    def reclaim(self, node: NodeHandle, now: float) -> None:
        """It is gone, or has forgotten all."""
        self._entrusting = Entrusting()
        for id_ in self._in(State.ENTRUSTED):
            moving = self._moving[id_]
            self._own(moving, "away")
            self._carry_out(self._agent.reclaim(id_, node.situation().links.neighbour_up(moving.proxy), now), now)

    def let_be(self, now: float) -> None:
        """It keeps what it has."""
        self._to, self._entrusting = "", Entrusting()
        for id_ in self._in(State.ENTRUSTED):
            self._agent.let_be(id_, now)

    def receive(self, node: NodeHandle, peer: int, message: Entrust | Entrusted, clocks: Clocks, leaves: bool) -> None:
        situation = node.situation()
        sender = situation.topology.by_number(peer)
        if sender is None or sender.name not in siblings(situation.topology, situation.node):
            self._agent.count("stray")
            return
        match message:
            case Entrust():
                done = not leaves and self._take(node, message, clocks)
                node.tell(sender.name, encode(Entrusted(message.id, done)))
            case Entrusted(id_, done) if sender.name == self._to and id_ in self._entrusting:
                self._entrusting.answered(id_, done=done)
                if done and self._agent.entrusted(id_, clocks.now):
                    # What still comes of it is the sibling's.
                    self._own(self._moving[id_], "")
                self.handle_timeout(node, clocks.now)
                self._rescue_what_stays(node, clocks.now)

    def promised(self, node: NodeHandle, id_: bytes, now: float) -> None:
        """The proxy has said something new of a connection that the sibling has, or may have."""
        if id_ in self._entrusting or self._agent.state(id_) is State.ENTRUSTED:
            self._entrusting.again(id_)
            self.handle_timeout(node, now)

    def claim(self, node: NodeHandle, peer: int, id_: bytes) -> None:
        send(node, peer, encode(Follow(id_)))

    def forget(self, id_: bytes) -> None:
        self._entrusting.forget(id_)

    def handle_timeout(self, node: NodeHandle, now: float) -> None:
        before = len(self._entrusting)
        for id_ in self._entrusting.due(now):
            message = self._message(node.situation().topology, id_, now)
            if message is None:
                self._entrusting.answered(id_, done=False)
            else:
                send(node, *message)
        if len(self._entrusting) < before:
            self._rescue_what_stays(node, now)

    def _rescue_what_stays(self, node: NodeHandle, now: float) -> None:
        """Of proxies that are gone, what the sibling did not take is decided here."""
        links = node.situation().links
        gone = {each.peer for each in self._moving.values() if not links.neighbour_up(each.proxy)}
        for peer in gone:
            self._carry_out(self._agent.receive_down(peer, now, self._entrusting), now)

    def next_timeout(self) -> float:
        return self._entrusting.next_timeout()

    def _in(self, state: State) -> list[bytes]:
        return [id_ for id_ in self._moving if self._agent.state(id_) is state]

    def _message(self, topology: Topology, id_: bytes, now: float) -> tuple[int, bytes] | None:
        """For whom; None: it is over, or too long."""
        moving, to = self._moving.get(id_), topology.nodes.get(self._to)
        edge = topology.nodes.get(moving.edge) if moving else None
        if moving is None or edge is None or to is None or self._agent.state(id_) not in _TOLD:
            return None
        age, request = min(round((now - moving.began) * 1000), OLDEST), self._agent.request(id_)
        for promised in (moving.promised, None):
            words = moving.peer, edge.number, age, moving.may_return, moving.application, request, promised
            try:
                return to.number, encode(Entrust(*words))
            except ValueError:
                continue
        return None

    def _take(self, node: NodeHandle, message: Entrust, clocks: Clocks) -> bool:
        known, situation = self._moving.get(message.id), node.situation()
        if known is None:
            known = None if self._agent.is_full() else _moving_of(message, situation.topology, clocks)
            if known is None:
                return False
            self._moving[message.id] = known
            self._own(known, "away")
            reached = situation.links.neighbour_up(known.proxy)
            if message.promised is not None:
                known.promise(message.promised)
            self._carry_out(self._agent.adopt(message.proxy, message.request, reached, clocks.now), clocks.now)
        elif message.promised is not None and self._agent.state(message.id) is not State.ENTRUSTED:
            known.promise(message.promised)
        return True


def _moving_of(message: Entrust, topology: Topology, clocks: Clocks) -> Moving | None:
    """None: nobody here knows what it is about."""
    proxy, edge = topology.by_number(message.proxy), topology.by_number(message.edge)
    try:
        record = decode_record(message.request.record)
    except BadPacket:
        return None
    if proxy is None or edge is None or message.application not in topology.applications:
        return None
    age, content = message.age / 1000, message.request.content.decode("latin-1")
    return Moving(
        message.id, message.application, record.remote, record.local, edge.name, proxy.name, message.proxy, content,
        clocks.now - age, clocks.wall - age, None, message.returns, told=message.request.numbers, entrusted=True,
    )  # fmt: skip
