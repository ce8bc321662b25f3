"""Connections that gateways transfer to this content proxy, at work: sockets, messages, timers, and what is served.

A socket is built for a request that can be answered from the store, or is to be answered here in any case, frozen, and
lives when the gateway says that the client's packets come here; its answer is made meanwhile. It is served as any
client's connection; a request that is not to be answered here is given back with it, and where the gateway does not
take it the origin is asked through the overlay. One that begins with TLS is taken for the name that it asks for,
whatever is stored, and does not go back. Gateways are told what is stored, and tell what is asked for and is not.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.alarm import Alarm
from braid.entrusted import Entrust, Entrusted, Follow
from braid.errors import BadPacket
from braid.missed import Missed
from braid.outdated import Dropped, Outdated
from braid.process import give_way
from braid.status.durations import Durations
from braid.status.transfers import TransferStatus, transfer_status
from braid.stored import StoredPages, Wanted
from braid.tcp.record import decode_record
from braid.tcp.repair import dissolve, start
from braid.transfer import Reason, Send, TransferRequest, decode, encode, numbers_of
from braid.transfer_mail import Inbox, send
from braid.transfer_progress import Heard, Promised
from content.agent import Command, Consider, Discard, Follows, KeepOn, ProxyAgent, Start, State
from content.carry import Answering, Source
from content.connection import ONCE, ClientConnection
from content.delegated import begins_with_tls
from content.facts import Facts, decode_facts, encode_facts
from content.judging import Judge
from content.lacking import Lacking
from content.leaving import Leaving
from content.outdating import Outdating
from content.prepared import prepare
from content.promising import Promising
from content.reach import idle_of, may_follow, may_outdate
from content.returning import Returning
from content.taken import Keep, ServeTls, Taken, build_for, flow_of
from content.telling import Teller
from content.unheard import Unheard
from content.wire import Keeping, Wire, close_file

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from braid.repeated import Say
    from braid.role import NodeHandle, Situation
    from braid.status.flow import FlowStatus
    from braid.transfer import Numbers
    from content.cache import Cache
    from content.judging import Judged
    from content.keys import Keys
    from content.sites import Find

log = logs.get(__name__)

BACK = Answering(source=Source.BACK)
_MISSED = Reason.CONTENT, Reason.VARIANT


class TransferService:
    """``cache`` and ``find`` as a client's connection needs them; ``room``: whether one more may be served;
    ``serve_tls`` serves a client that begins with TLS, ``tls`` knows which names it can prove."""

    def __init__(
        self,
        cache: Cache,
        find: Find,
        wall: Callable[[], float],
        room: Callable[[], bool],
        draining: Callable[[], bool],
        tls: Keys,
        serve_tls: ServeTls,
        keep: Keep,
        read: trio.Event,
    ) -> None:
        self.agent = ProxyAgent()
        self.taken: dict[bytes, Taken] = {}
        """Newest last."""
        self.first_bytes = Durations()
        """From request to first byte, of all."""
        self.bytes = 0
        """Sent on transferred connections: what the origin did not have to send."""
        self._inbox = Inbox()
        self._cache = cache
        self._find = find
        self._judge = Judge(cache, find, wall, room, draining, tls)
        self._draining = draining
        self._serve_tls = serve_tls
        self._keep = keep
        self._read = read
        """Set when the store is."""
        self._node: NodeHandle | None = None
        self._nursery: trio.Nursery | None = None
        self._leaving = Leaving(self.taken.values)
        self._alarm = Alarm()
        self._unheard = Unheard()
        self._teller = Teller(cache.store.index, wall, self._judge.why_nothing)
        self._lacking = Lacking(self._judge, self._situation, self.agent.count)
        self._outdating = Outdating(lambda key: cache.outdate(frozenset((key,))), self._tell)

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer gateways, and serve what they hand over. Never returns; survives what clients and gateways do. When it
        is cancelled sockets that were not started go in silence, the others as their connections do."""
        try:
            async with trio.open_nursery() as nursery:
                self._node, self._nursery = node, nursery
                nursery.start_soon(self._teller.run, node, self._read)
                nursery.start_soon(self._lacking.run)
                nursery.start_soon(self._leaving.run)
                nursery.start_soon(self._outdating.run, self._read)
                task_status.started()
                while True:
                    now = trio.current_time()
                    self._carry_out(self.agent.handle_timeout(now))
                    self._say(self._unheard.handle_timeout(now))
                    await self._alarm.wait(min(self.agent.next_timeout(), self._unheard.next_timeout()))
        finally:
            self._node = self._nursery = None
            for taken in self.taken.values():
                if self.agent.state(taken.id) is State.ACCEPTED:
                    taken.drop()

    def finish(self) -> bool:
        """Connections between two requests go back to their gateways from now on, some at a time. True while there are
        any."""
        self._leaving.begin()
        return bool(self.taken)

    def status(self) -> TransferStatus:
        return transfer_status(self.agent.counts, open_=len(self.taken), took=self.first_bytes, sent=self.bytes)

    def flows(self, limit: int, now: float) -> list[FlowStatus]:
        """Connections that this node has, the newest first."""
        newest = islice(reversed(self.taken.values()), limit)
        return [flow_of(taken, self.agent.state(taken.id), now) for taken in newest]

    def receive_up(self, peer: int) -> None:
        """There is a session with a neighbour."""
        if self._node is not None:
            self._teller.receive_up(self._node, peer)

    def receive(self, peer: int, data: bytes, now: float) -> None:
        """A control message of a neighbour."""
        if self._node is None:
            return
        try:
            message = self._inbox.read(peer, data, now)
        except BadPacket:
            self.agent.count("bad")
            return
        match message:
            case None:
                return
            case Wanted():
                self._lacking.receive(peer, message)
            case Heard():
                self._unheard.receive(peer, message)
            case Outdated() if may_outdate(self._situation().topology, peer, message.key):
                if self._outdating.add(peer, message):
                    self.agent.count("outdated")
            case Follow(id_):
                self._carry_out(self.agent.follow(peer, id_, partial(may_follow, self._situation().topology), now))
                self._alarm.set(min(self.agent.next_timeout(), self._unheard.next_timeout()))
            case Outdated() | StoredPages() | Promised() | Dropped() | Entrust() | Entrusted() | Missed():
                self.agent.count("stray")
            case _:
                self._carry_out(self.agent.receive(peer, message, now))
                self._alarm.set(self.agent.next_timeout())

    def receive_refused(self, peer: int, data: bytes, reason: Reason, now: float) -> None:
        """A neighbour's request was refused for us, a moment ago (``content.serving``)."""
        try:
            request = None if self._node is None else decode(data)
        except BadPacket:
            self.agent.count("bad")
            return
        if isinstance(request, TransferRequest) and self.agent.refused(peer, request, reason, now):
            if reason in _MISSED:
                self._lacking.missed(peer, request)
            self._alarm.set(self.agent.next_timeout())

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            self._do(command)

    def _do(self, command: Command) -> None:
        assert self._node is not None
        match command:
            case Send(peer, message):
                send(self._node, peer, encode(message))
            case Consider(peer, request):
                self._consider(peer, request)
            case Start(id_):
                self._start(self.taken[id_])
            case Discard(id_):
                taken = self.taken.pop(id_, None)
                if taken is not None:
                    taken.gone = True
                    taken.decided.set()
                    taken.scope.cancel()
                    taken.drop()
                    self._own(taken, "away")
            case KeepOn(id_, heard):
                taken = self.taken[id_]
                taken.heard = heard
                start(taken.socket)
                self._own(taken, "here")
                taken.decided.set()
            case Follows(id_, peer):
                self._follow(self.taken[id_], peer)

    def _follow(self, taken: Taken, peer: int) -> None:
        gateway = self._situation().topology.by_number(peer)
        taken.gateway = gateway.name if gateway else ""
        _, request = self.agent.asked(taken.id)
        taken.facts = encode_facts(Facts(peer, taken.application, taken.edge, taken.region, taken.gateway, request))
        taken.keeping.know(taken.facts)
        self._unheard.follow(taken.id, peer, trio.current_time())

    def _consider(self, peer: int, request: TransferRequest) -> None:
        situation, now = self._situation(), trio.current_time()
        judged = self._judge.offered(situation, peer, request)
        answer = judged if isinstance(judged, Reason) else self._take(peer, request, judged, situation, now)
        if isinstance(answer, Reason):
            self._carry_out(self.agent.refuse(request.id, answer, now))
        else:
            self._carry_out(self.agent.accept(request.id, answer, now))
        give_way()
        self._prepare(peer, request)
        if judged in _MISSED:
            self._lacking.miss(peer, request)

    def _take(
        self, peer: int, request: TransferRequest, judged: Judged, situation: Situation, now: float
    ) -> Reason | Numbers:
        """The numbers of the socket that was built, or why there is none."""
        record, edge, application, found = judged
        topology = situation.topology
        offering = topology.by_number(peer)
        gateway = offering.name if offering else ""
        try:
            served = (each for each in self.taken.values() if self.agent.state(each.id) is State.SERVING)
            built = build_for(request, record, gateway, served)
        except OSError as error:
            log.warning("socket cannot be built", problem=error.strerror or str(error), client=str(record.remote))
            return Reason.SOCKET
        taken = Taken(
            request.id, application, record.remote, record.local, edge, topology.nodes[edge].region, gateway,
            found is None, built, now, now, found=found,
        )  # fmt: skip
        if not self._own(taken, "held"):
            dissolve(built)
            return Reason.BUSY
        self.taken[request.id] = taken
        if found is not None and found.ready is None:
            self.agent.count("unstored")
        return numbers_of(record)

    def _prepare(self, peer: int, request: TransferRequest) -> None:
        """What is needed at COMMIT, while the gateway decides."""
        taken = self.taken.get(request.id)
        if taken is None:
            return
        taken.facts = encode_facts(Facts(peer, taken.application, taken.edge, taken.region, taken.gateway, request))
        taken.keep = self._keep(taken.socket, str(taken.client), str(taken.vip), taken.facts)
        if taken.found is None or (ready := taken.found.ready) is None:
            return
        assert self._node is not None
        asked, site, closes, _, length = taken.found
        answer = self._cache.at_once(asked, site, ready)
        if answer is not None:
            taken.prepared = prepare(asked, length, answer, self._node.situation().node, closes=closes)

    def _situation(self) -> Situation:
        assert self._node is not None
        return self._node.situation()

    def _start(self, taken: Taken) -> None:
        assert self._nursery is not None
        keeping = taken.keep()
        taken.keeping = promising = self._promising(taken, keeping)
        prepared, begun, sent = taken.prepared, None, 0
        if prepared is not None:
            prepared.tell(keeping)
        start(taken.socket)
        if prepared is not None:
            taken.prepared, taken.served = None, 1
            sent, begun = prepared.send(taken.socket)
            promising.promise(prepared.answering, 0, 0)
            self._cache.counts["client_bytes"] += sent
            self._note_sent(taken, sent)
        self._own(taken, "here")
        self._nursery.start_soon(self._serve, taken, begun, -1 if prepared is None else prepared.descriptor, sent)

    def _promising(self, taken: Taken, keeping: Keeping) -> Promising:
        _, request = self.agent.asked(taken.id)

        def tell(promised: Promised) -> None:
            peer, _ = self.agent.asked(taken.id)
            self._say(self._unheard.promise(peer, promised, trio.current_time()))
            self._alarm.set(self._unheard.next_timeout())

        return Promising(keeping, taken.id, request.numbers, taken.socket, tell)

    def _tell(self, peer: int, message: bytes) -> None:
        if self._node is not None:
            send(self._node, peer, message)

    def _say(self, said: list[Say]) -> None:
        for say in said:
            self._tell(say.peer, say.message)

    def _note_sent(self, taken: Taken, count: int) -> None:
        taken.active = trio.current_time()
        if count and not taken.spoke:
            taken.spoke = True
            self.first_bytes.add(taken.active - taken.began)
        taken.bytes_out += count
        self.bytes += count

    def adopt(
        self, opened: socket.socket, data: bytes, keeping: Keeping, begun: Answering | None, descriptor: int
    ) -> None:
        """Go on with a connection that another worker had: ``data`` is what it had kept of it. The descriptors are
        closed when it ends. BadPacket for what none has."""
        assert self._node is not None
        assert self._nursery is not None
        facts = decode_facts(data)
        request = facts.request
        record, now = decode_record(request.record), trio.current_time()
        tls = begins_with_tls(self._node.situation().topology, facts.application)
        taken = Taken(
            request.id, facts.application, record.remote, record.local, facts.edge, facts.region, facts.gateway, tls,
            opened, now, now, served=1, spoke=True,
        )  # fmt: skip
        self.taken[request.id] = taken
        self._carry_out(self.agent.adopt(facts.peer, request, now))
        taken.keeping = self._promising(taken, keeping)
        self._alarm.set(self.agent.next_timeout())
        # The other one may have died before it had done so.
        start(opened)
        self._own(taken, "here")
        self._nursery.start_soon(self._serve, taken, begun, descriptor)

    async def _serve(self, taken: Taken, begun: Answering | None, descriptor: int, written: int = 0) -> None:
        """``begun``: what is left of an answer, of which so many bytes were ``written`` here."""
        assert self._node is not None
        name = self._node.situation().node
        wire = Wire(taken.socket.dup(), taken.keeping)
        wire.written = written
        elsewhere = Returning(
            taken, self._judge, self._situation, self._own, self._give_back, self._draining, self._leaving.ways
        )
        sent = partial(self._note_sent, taken)
        # As long as at its gateway, also in mid-answer: who pauses a film takes nothing.
        idle = idle_of(self._node.situation().topology, taken.application)
        connection = ClientConnection(
            wire, taken.client.host, self._cache, self._find, name, self._draining, elsewhere, sent, idle, idle
        )  # fmt: skip
        taken.leave = connection.leave
        try:
            with taken.scope:
                if taken.tls:
                    # The keys of the connection go with this process.
                    taken.keeping.told(ONCE)
                    await self._read.wait()
                    await self._serve_tls(wire.stream(), taken.client.host, sent, idle)
                elif begun is None or await connection.go_on(begun, descriptor):
                    descriptor = close_file(descriptor)
                    await self._read.wait()
                    await connection.serve()
        finally:
            wire.close()
            close_file(descriptor)
            if not taken.gone:
                taken.socket.close()
                self.taken.pop(taken.id, None)
        taken.keeping.ended()
        self._unheard.forget(taken.id)
        if not taken.gone and self._node is not None:
            self._carry_out(self.agent.end(taken.id, trio.current_time()))

    def _give_back(self, taken: Taken, numbers: Numbers, record: bytes) -> None:
        self._carry_out(self.agent.give_back(taken.id, numbers, record, trio.current_time()))
        self._alarm.set(self.agent.next_timeout())

    def _own(self, taken: Taken, owner: str, *, wait: bool = False) -> bool:
        """To be waited for where a socket is live that packets must not reach from then on."""
        return self._node is not None and self._node.set_owner(taken.client, taken.vip, owner, wait=wait)
