"""Transfers of a gateway's connections at work: sockets, messages, timers. What is offered to whom ``offering`` says.

A request waits in the relay while its connection is offered, a ClientHello in the kernel. The socket is frozen
meanwhile, the core holds the client's packets, and whatever comes of it ends in one of three ways: its holder goes on
(``Release``), it gives up the socket without a word (``GiveUp``), or the client is reset (``Lost``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from braid.alarm import Alarm
from braid.entrusted import Entrust, Entrusted, Follow
from braid.errors import BadPacket
from braid.missed import Missed
from braid.outdated import Dropped, Outdated
from braid.process import give_way
from braid.status.durations import Durations
from braid.stored import StoredPages, Wanted
from braid.tcp.repair import FreezeError, start
from braid.transfer import MODULUS, Numbers, Reason, Send, Steer, Steered, TransferRefuse, encode
from braid.transfer_mail import Inbox, send
from braid.transfer_progress import Heard, Promised, encode_heard, heard_of
from gateway.transfer import commands
from gateway.transfer.agent import TransferAgent
from gateway.transfer.asking import US, ask, asked_by
from gateway.transfer.moving import WRONG
from gateway.transfer.offering import Offering
from gateway.transfer.owners import Owners
from gateway.transfer.sibling import Clocks, Sibling
from gateway.transfer.state import COMMIT_FOR
from gateway.transfer.successor import Successor, reset

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from braid.events import Control
    from braid.role import NodeHandle
    from braid.tcp.offering import Offered
    from braid.transfer import TransferMessage
    from braid.transfer_progress import Seen
    from gateway.proxy.relay import Relay
    from gateway.transfer.asking import Moment, Question, Source
    from gateway.transfer.moving import Moving
    from gateway.transfer.successor import Adopt, Inside, Serve
    from topology.model import SocketAddress

log = logs.get(__name__)


class TransferService:
    """``serve`` takes over a connection that came back and that ``adopt`` has built, ``inside`` gives one to an
    application, for a client."""

    def __init__(
        self, relay: Relay, serve: Serve, adopt: Adopt, inside: Inside, rng: Random, wall: Callable[[], float]
    ) -> None:
        # Edges remember for seconds what an earlier process said; none says a thousand things in a second.
        self.agent = TransferAgent(int(wall() * 1000) % MODULUS)
        self.moving: dict[bytes, Moving] = {}
        """Newest last."""
        self.took = Durations()
        """From offer to service, of all that were moved."""
        self.leaves: Callable[[], bool] = lambda: False
        """Whether this gateway is drained: what would come back stays where it is, which this gateway is to leave."""
        self._asked: dict[tuple[SocketAddress, SocketAddress], bytes] = {}
        """By client and VIP: the transfer of which a proxy was asked last."""
        self._inbox = Inbox()
        self._relay = relay
        self._serve = serve
        self._adopt = adopt
        self._rng = rng
        self._wall = wall
        self._node: NodeHandle | None = None
        self._alarm, self._owners = Alarm(), Owners()
        self._successor = Successor(serve, adopt, inside, self.agent.count)
        self._sibling = Sibling(self.agent, self.moving, self._carry_out, self._own)
        keeps = self._successor.clients.__contains__
        self._offering = Offering(relay, self._ask, self._begun, keeps, self._asked, self.agent, rng, wall)
        self.offer_hello = self._offering.offer_hello
        self._nursery: trio.Nursery | None = None

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Offer requests by the topology's routing table, and see every transfer to its end. Never returns. When it is
        cancelled connections that are being offered are reset."""
        self._node = node
        self._relay.foreseen.turned_down = self._turned_down
        try:
            async with trio.open_nursery() as self._nursery:
                await self._nursery.start(self._offering.run, node)
                task_status.started()
                while True:
                    # An edge's word waits for the proxy's, and need not be asked for again.
                    node.hear()
                    now = trio.current_time()
                    self._relay.foreseen.hear(now)
                    self._carry_out(self.agent.handle_timeout(now), now)
                    self._sibling.handle_timeout(node, now)
                    self._forget(node)
                    await self._alarm.wait(min(self.agent.next_timeout(), self._sibling.next_timeout()))
        finally:
            self._relay.foreseen.hear(trio.current_time())
            self._node = self._nursery = None
            for moving in self.moving.values():
                if moving.socket is not None:
                    reset(moving.socket)

    def receive(self, control: Control, now: float) -> None:
        """A control message; others than those of transfers are ignored."""
        if self._node is None:
            return
        try:
            message = self._inbox.read(control.peer, control.message, now)
        except BadPacket:
            self.agent.count("bad")
            return
        match message:
            case None:
                pass
            case Promised():
                self._receive_promised(control, message)
            case StoredPages() | Dropped() if control.adjacent:
                self._offering.receive(control.peer, message, now)
            case Entrust() | Entrusted() if control.adjacent:
                clocks = Clocks(now, self._wall())
                self._sibling.receive(self._node, control.peer, message, clocks, self.leaves())
                self._alarm.set(min(self.agent.next_timeout(), self._sibling.next_timeout()))
            case Missed(number) if not control.adjacent:
                self._receive_missed(control.peer, number, now)
            case (
                StoredPages()
                | Dropped()
                | Wanted()
                | Outdated()
                | Heard()
                | Entrust()
                | Entrusted()
                | Follow()
                | Missed()
            ):
                self.agent.count("stray")
            case _:
                self._receive_transfer(control, message, now)

    def _receive_transfer(self, control: Control, message: TransferMessage, now: float) -> None:
        assert self._node is not None
        self._relay.foreseen.hear(now)
        sender = self._node.situation().topology.by_number(control.peer)
        self._note(sender.name if sender else "", US, message)
        if control.adjacent:
            self._carry_out(self.agent.receive(control.peer, message, now), now)
        elif isinstance(message, Steered) and self._is_of_edge(message.id, control.peer):
            self._carry_out(self.agent.receive_steered(message, now), now)
        else:
            self.agent.count("stray")
        self._alarm.set(self.agent.next_timeout())

    def receive_down(self, peer: int, now: float) -> None:
        """The session with a neighbour is gone."""
        self._offering.forget(peer)
        if self._node is not None:
            self._relay.foreseen.hear(now)
            self._carry_out(self.agent.receive_down(peer, now, self._sibling), now)
            self._alarm.set(self.agent.next_timeout())

    def entrust(self, to: str) -> int:
        """As ``gateway.drain.carrier.Entrusts``, and ``reclaim`` and ``let_be`` too."""
        if self._node is None:
            return 0
        left = self._sibling.entrust(self._node, to, trio.current_time())
        self._alarm.set(self._sibling.next_timeout())
        return left

    def reclaim(self) -> None:
        if self._node is not None:
            self._sibling.reclaim(self._node, trio.current_time())
            self._alarm.set(self.agent.next_timeout())

    def let_be(self) -> None:
        self._sibling.let_be(trio.current_time())

    def receive_restart(self, peer: int, now: float) -> None:
        """An edge has started again: it is told which of its clients' connections proxies have."""
        if self._node is None:
            return
        for id_ in [id_ for id_ in self.moving if self._is_of_edge(id_, peer)]:
            self._carry_out(self.agent.steer_anew(id_, now), now)
        self._alarm.set(self.agent.next_timeout())

    def _receive_missed(self, edge: int, proxy: int, now: float) -> None:
        """An edge does not reach a proxy; what that has of its clients goes on here."""
        for id_ in [id_ for id_, moving in self.moving.items() if moving.peer == proxy and id_ not in self._sibling]:
            if self._is_of_edge(id_, edge):
                self._carry_out(self.agent.miss(id_, now), now)
        self._alarm.set(self.agent.next_timeout())

    def _receive_promised(self, control: Control, promised: Promised) -> None:
        assert self._node is not None
        moving = self.moving.get(promised.id)
        sender = self._node.situation().topology.by_number(control.peer)
        if moving is not None and control.adjacent and control.peer == moving.peer:
            moving.promise(promised)
            self._sibling.promised(self._node, promised.id, trio.current_time())
        else:
            self.agent.count("stray")
        if sender is not None and control.adjacent:
            # What is of no use here need not be said again either.
            self._node.tell(sender.name, encode_heard(heard_of(promised)))

    def _note(self, source: str, to: str, message: TransferMessage) -> None:
        moving = self.moving.get(message.id)
        if moving is not None:
            moving.note(trio.current_time(), source, to, type(message))

    def _is_of_edge(self, id_: bytes, number: int) -> bool:
        assert self._node is not None
        moving = self.moving.get(id_)
        sender = self._node.situation().topology.by_number(number)
        return moving is not None and sender is not None and sender.name == moving.edge

    def _ask(self, question: Question, source: Source, likely: bool, now: float) -> Moving | None:
        """Freeze a connection and ask the proxy; None, and all is as before. As ``_begun``."""
        node, wall = self._node, self._wall()
        if node is None or node.offers is None or self.agent.is_full():
            self.agent.count("refused/table_full")
            return None
        if not self._relay.foreseen.asked(question.peer):
            self.agent.count("refused/busy")
            return None
        ends = question.data.client, question.data.vip
        # What is said of the one before from now on would be taken for this one's.
        self._carry_out(self.agent.make_way(self._asked.get(ends, b""), now), now)
        id_ = self._rng.getrandbits(128).to_bytes(16)
        try:
            offered = ask(node, question, source, id_)
        except FreezeError as error:
            self._relay.foreseen.answered(question.peer)
            self.agent.count(f"refused/{error}")
            return None
        return self._begun(question, id_, offered, likely, (now, wall))

    def _begun(self, question: Question, id_: bytes, offered: Offered, likely: bool, moment: Moment) -> Moving:
        """A connection is frozen and its proxy asked, in that ``moment``. The edge is asked meanwhile where it is
        ``likely`` that the proxy accepts."""
        assert self._node is not None
        now, _ = moment
        moving, request = asked_by(self._node, question, id_, offered, moment)
        self.moving[id_], self._asked[moving.client, moving.vip] = moving, id_
        self._owners.held(moving)
        self._carry_out(self.agent.begin(question.peer, request, now, asked=offered.asked), now)
        # A proxy nearby has refused by now, if it does: then the edge has nothing to do with it.
        if likely and not self._relay.foreseen.is_turned_down(id_):
            self._carry_out(self.agent.steer_early(id_, now), now)
        self._alarm.set(self.agent.next_timeout())
        return moving

    def _turned_down(self, id_: bytes, reason: int, served: bool, now: float) -> None:
        """The proxy that was asked has refused; its request may be ``served`` already."""
        moving = self.moving.get(id_)
        if moving is None:
            return
        message = TransferRefuse(id_, Reason(reason) if reason in Reason.__members__.values() else Reason.UNKNOWN)
        self._note(moving.proxy, US, message)
        moving.served = served
        self._carry_out(self.agent.receive(moving.peer, message, now), now)
        self._alarm.set(self.agent.next_timeout())

    def _carry_out(self, wanted: list[commands.Command], now: float) -> None:
        for command in wanted:
            self._do(command, now)

    def _do(self, command: commands.Command, now: float) -> None:
        assert self._node is not None
        match command:
            case Send(peer, message):
                name = send(self._node, peer, encode(message))
                if name:
                    self._note(US, name, message)
            case commands.AskEdge(id_, order, node):
                moving = self.moving[id_]
                steer = Steer(id_, order, node, moving.client, moving.vip)
                self._node.send_to_peer(moving.edge, encode(steer))
                self._note(US, moving.edge, steer)
            case commands.Claim(id_, peer):
                self._sibling.claim(self._node, peer, id_)
            case commands.Release(id_, reason):
                moving = self.moving[id_]
                self._relay.foreseen.answered(moving.peer)
                self._release(moving, now)
                self._offering.released(moving, reason, now)
            case commands.Confirm(id_):
                self._carry_out(self.agent.confirmed(id_, self.moving[id_].problem(), now), now)
            case commands.GiveUp(id_):
                # COMMIT was said just now.
                give_way()
                moving = self.moving[id_]
                self._relay.foreseen.answered(moving.peer)
                self._relay.foreseen.forget(id_)
                self._own(moving, "away")
                moving.give_up()
                # A client that resets at the proxy may begin another connection of the same ends here.
                moving.dissolve()
            case commands.EndServer(id_):
                # The relay's connection to the server went back to its pool, or ended, when the client's was given up.
                moving = self.moving[id_]
                moving.took = now - moving.began
                self.took.add(moving.took)
            case commands.TakeBack(id_, numbers, record):
                self._carry_out(self._take_back(self.moving[id_], numbers, record, now), now)
            case commands.Resume(id_):
                self._resume(self.moving[id_])
            case commands.Hold(id_, held):
                self._own(self.moving[id_], "held" if held else "away", wait=True)
            case commands.GoOn(id_, seen):
                self._go_on(self.moving[id_], seen, now)
            case commands.Lost(id_, reason):
                moving = self.moving[id_]
                log.warning("transferred connection is lost", proxy=moving.proxy, content=moving.content, reason=reason)
                self._own(moving, "", wait=True)
                if moving.socket is not None:
                    reset(moving.socket)
                    moving.socket = None

    def _go_on(self, moving: Moving, seen: Seen | None, now: float) -> None:
        assert self._node is not None
        assert self._nursery is not None
        moving.dissolve()
        left = self._successor.take(moving, self.agent.request(moving.id), seen, now)
        self._own(moving, "")
        if left is not None:
            self._nursery.start_soon(self._successor.send, moving, *left, self._node)

    def _release(self, moving: Moving, now: float) -> None:
        """Its holder goes on where it was."""
        frozen, holder = moving.socket, moving.holder
        moving.socket = moving.holder = None
        self._relay.foreseen.forget(moving.id)
        if frozen is None:
            return
        goes_on = moving.served
        if not goes_on:
            start(frozen)
            goes_on = holder is not None and holder.go_on(now)
            # What was held may come now; that the request goes to its server did not have to wait for it.
            self._own(moving, "")
        if goes_on:
            frozen.close()
        else:
            reset(frozen)

    def _take_back(self, moving: Moving, numbers: Numbers, data: bytes, now: float) -> list[commands.Command]:
        try:
            record = moving.returned(numbers, data)
        except BadPacket as error:
            self.agent.count("returned_wrong" if error.reason == WRONG else "bad")
            return self.agent.taken_back(moving.id, False, now)
        if moving.id in self._sibling:
            # The proxy says it again, to whom it is to follow by then.
            return []
        if self.leaves():
            self.agent.count("returned_leaving")
            return self.agent.taken_back(moving.id, False, now)
        self._own(moving, "held", wait=True)
        try:
            # The proxy's frozen socket may have acknowledged while this was on its way.
            later = record.after(round(COMMIT_FOR * 1000))
            moving.back(*self._adopt(later, guest=moving.guest))
        except OSError as error:
            log.warning("transferred connection cannot be taken back", problem=error.strerror or str(error))
            self._own(moving, "away")
            return self.agent.taken_back(moving.id, False, now)
        return self.agent.taken_back(moving.id, True, now)

    def _resume(self, moving: Moving) -> None:
        built, moving.socket = moving.socket, None
        if built is None or self._node is None:
            return
        start(built)
        self._own(moving, "")
        self._serve(trio.SocketStream(trio.socket.from_stdlib_socket(built)), moving.application, moving.promoted)

    def _own(self, moving: Moving, owner: str, *, wait: bool = False) -> bool:
        """To be waited for where packets must meet the new owner from then on."""
        return self._node is not None and self._owners.set(self._node, moving, owner, wait=wait)

    def _forget(self, node: NodeHandle) -> None:
        if len(self.moving) <= len(self.agent):
            return
        for id_ in [id_ for id_ in self.moving if self.agent.state(id_) is None]:
            self._sibling.forget(id_)
            moving = self.moving.pop(id_)
            if self._asked.get((moving.client, moving.vip)) == id_:
                del self._asked[moving.client, moving.vip]
            self._owners.forget(node, moving)
