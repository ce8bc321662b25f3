"""Which of a gateway's connections are offered to which content proxy, by the routing table and by what the proxies
say that they store. What they lack, and what has changed, they are told.

A request waits in the relay while its connection is offered, a ClientHello in the kernel.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from braid.alarm import Alarm
from braid.stored import StoredPages, Wanted
from braid.tcp.offering import offered_by
from braid.transfer import MOST, Reason
from braid.transfer_mail import send
from braid.transfer_table import tls_content
from gateway.transfer import standing
from gateway.transfer.asking import DEADLINE, Question
from gateway.transfer.choosing import Chooser
from gateway.transfer.hello import Waiting, peek
from gateway.transfer.moving import OfRelay
from gateway.transfer.offer import fields_of, key_of, outdated_by, proxies_storing
from gateway.transfer.outdated import OutdatedTable
from gateway.transfer.planning import Plans
from gateway.transfer.stored import ANY, Is, StoredTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from random import Random
    from typing import NoReturn

    from braid.outdated import Dropped
    from braid.repeated import Say
    from braid.role import NodeHandle
    from braid.tcp.offering import Offered
    from dataplane._native import Decided
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData
    from gateway.proxy.relay import Relay
    from gateway.proxy.relayed import RelayedConnection
    from gateway.transfer.agent import TransferAgent
    from gateway.transfer.asking import Moment, Source
    from gateway.transfer.moving import Moving
    from topology.model import SocketAddress

    Ask = Callable[[Question, Source, bool, float], Moving | None]
    Asked = Callable[[Question, bytes, Offered, bool, Moment], Moving]

_VARIANT = Reason.VARIANT.name.lower()
_DRAINING = Reason.DRAINING.name.lower()
_COLD_REASONS = [Reason.CONTENT.name.lower(), Reason.NOT_DELEGATED.name.lower(), _VARIANT]
ROOM = 1000
"""Transfers left to Python, which counts: more than the relay offers in one turn."""
_NOT_OFFERED = frozenset((Is.ABSENT, Is.COLD, Is.UNFIT, Is.OUTDATED))


class Offering:
    """``ask`` has a proxy asked, and the edge meanwhile where it most likely accepts; None: that cannot be. ``asked``
    hears of one that the relay has asked itself. ``keeps``: clients whose requests stay here. ``last``: by client
    and VIP the transfer of which a proxy was asked last. ``wall`` gives Unix seconds."""

    def __init__(
        self,
        relay: Relay,
        ask: Ask,
        asked: Asked,
        keeps: Callable[[SocketAddress], bool],
        last: Mapping[tuple[SocketAddress, SocketAddress], bytes],
        agent: TransferAgent,
        rng: Random,
        wall: Callable[[], float],
    ) -> None:
        self._relay = relay
        self._ask = ask
        self._asked = asked
        self._keeps, self._last = keeps, last
        self._agent = agent
        self._count = agent.count
        self._rng = rng
        self._node: NodeHandle | None = None
        self._alarm, self._stored = Alarm(), StoredTable()
        self._outdated = OutdatedTable(agent.count, self._stored.mark_outdated)
        self._chooser = Chooser(self._stored, agent, rng, wall)
        self._plans = Plans(self._chooser.leaving)

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Offer what clients ask for. Never returns."""
        self._node = node
        relay = self._relay
        relay.offer, relay.decided, relay.changed, relay.begun = self._offer, self._decided, self._changed, self._begun
        self._review()
        if node.offers is not None:
            relay.foreseen.offer_by(node.offers, self._stored.native, DEADLINE)
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, node)
                await self._speak(node)
        finally:
            relay.foreseen.forget_plans()
            self._node = None

    async def _speak(self, node: NodeHandle) -> NoReturn:
        while True:
            now = trio.current_time()
            for proxy, wanted in self._stored.take_wanted(now):
                node.tell(proxy, wanted)
            self._say(self._outdated.handle_timeout(now))
            await self._alarm.wait(min(self._stored.next_timeout(), self._outdated.next_timeout()))

    async def _follow(self, node: NodeHandle) -> NoReturn:
        while True:
            changed = node.changed()
            self._review()
            await changed.wait()

    def _review(self) -> None:
        """Have no request decided about by a plan that has become wrong: Python decides, and plans anew."""
        if self._node is not None and self._plans.follow(self._node.situation()):
            self._relay.foreseen.forget_plans()

    def _begun(self, connection: RelayedConnection) -> None:
        """Where one of the same ends is being offered still, it has to make way first, and Python decides."""
        if not self._agent.is_asking(self._last.get((connection.data.client, connection.data.vip), b"")):
            self._plan(connection)

    def _plan(self, connection: RelayedConnection) -> None:
        """So that its requests are decided about without Python, as far as that goes."""
        node, data = self._node, connection.data
        if node is not None and not self._keeps(data.client) and len(self._agent) < MOST - ROOM:
            self._relay.foreseen.plan(connection, self._plans.of(node.situation(), data))

    def receive(self, peer: int, message: StoredPages | Dropped, now: float) -> None:
        """Of a neighbour."""
        if self._node is None:
            return
        topology = self._node.situation().topology
        sender = topology.by_number(peer)
        if sender is None or not any(sender.name in row.proxies for row in topology.transfers):
            self._count("stray")
        elif isinstance(message, StoredPages):
            self._stored.receive(peer, message, now)
        elif (key := self._outdated.dropped(peer, message.id)) is not None:
            # What it said of its store may be older.
            self._stored.remember_cold(peer, key, now)

    def forget(self, peer: int) -> None:
        """The session with a proxy is gone."""
        self._stored.forget(peer)
        self._chooser.leaving.discard(peer)
        self._review()

    def released(self, moving: Moving, reason: str, now: float) -> None:
        """The origin serves, for that reason."""
        if reason in _COLD_REASONS:
            fields = moving.fields if reason == _VARIANT else ANY
            self._stored.remember_cold(moving.peer, moving.content, now, fields)
        elif reason == _DRAINING:
            self._chooser.leaving.add(moving.peer)
            self._review()

    async def offer_hello(self, stream: trio.SocketStream, data: ClientData, promoted: Promoted | None) -> bool:
        """Offer a connection that begins with TLS, of which nothing was read. True: it is elsewhere, and the stream is
        closed. False: it goes on here, and nothing has happened to it."""
        hello = await peek(stream)
        if hello is None or self._node is None:
            return False
        look = partial(standing.of_socket, stream.socket.fileno(), promoted)
        proxy = self._chooser.of_hello(self._node.situation(), data, hello, look)
        if proxy is None:
            return False
        now, peer, content = trio.current_time(), self._number(proxy), tls_content(hello.sni, data.vip.port)
        if self._stored.is_cold(peer, content, now):
            self._count("refused/cold")
            return False
        waiting, source = Waiting(stream), (stream.socket.fileno(), None)
        question = Question(data, proxy, peer, content, waiting, promoted, may_return=False)
        # A proxy takes every name that is delegated to it.
        return self._ask(question, source, True, now) is not None and await waiting.moved()

    def _offer(self, connection: RelayedConnection, now: float) -> bool:
        """Whether the request waits for an answer of a proxy now; the relay serves it otherwise."""
        waits = self._offers(connection, now)
        if waits:
            # The transfer before, if there was one, has made way.
            self._plan(connection)
        else:
            self._begun(connection)
        return waits

    def _offers(self, connection: RelayedConnection, now: float) -> bool:
        request = connection.request
        data = connection.data
        if self._node is None or request is None or self._keeps(data.client):
            return False
        look = partial(standing.of_request, self._relay, connection)
        found = self._chooser.of_request(self._node.situation(), data, request, look)
        if found is None:
            return False
        row, proxy = found
        movable = self._relay.movable(connection)
        if movable is None:
            self._count("refused/not_quiescent")
            return False
        peer, content, fields = self._number(proxy), key_of(request, data.vip), fields_of(movable[1])
        known = self._chooser.known(row, request, peer, content, fields, now)
        if self._outdated.has(peer, content):
            known = Is.OUTDATED
        if known in _NOT_OFFERED:
            self._kept(data, known, proxy, peer, content, movable[1], now)
            return False
        question = self._question(connection, proxy, peer, content, fields)
        return self._ask(question, movable, known is Is.STORED, now) is not None

    def _question(self, connection: RelayedConnection, proxy: str, peer: int, content: str, fields: bytes) -> Question:
        holder = OfRelay(self._relay, connection)
        return Question(connection.data, proxy, peer, content, holder, connection.promoted, fields)

    def _kept(self, data: ClientData, known: Is, proxy: str, peer: int, content: str, head: bytes, now: float) -> None:
        """It is not offered for what is known of the proxy, which hears of it."""
        self._count(f"refused/{known.value}")
        if known is Is.ABSENT:
            self._stored.remember_cold(peer, content, now)
        if known not in (Is.COLD, Is.OUTDATED):
            self._alarm.set(self._stored.want(proxy, Wanted(data.client, data.vip, head), now))

    def _decided(self, connection: RelayedConnection, decided: Decided, now: float) -> None:
        """The relay has offered a request itself, or not, by a plan."""
        why, wanted, asked = decided
        if wanted is None:
            self._count(f"refused/{why}")
            return
        proxy, peer, key, fields, head = wanted
        content = key.decode("latin-1")
        if asked is None:
            self._kept(connection.data, Is(why), proxy, peer, content, head, now)
            return
        id_, likely, wall, made = asked
        offered = offered_by(made, v6=connection.data.client.host.version == 6)
        self._asked(self._question(connection, proxy, peer, content, fields), id_, offered, likely, (now, wall))
        if len(self._agent) >= MOST - ROOM:
            # Python counts how many more there may be.
            self._relay.foreseen.forget_plans()

    def _changed(self, connection: RelayedConnection, elsewhere: list[bytes], now: float) -> None:
        """A request has changed what proxies may have stored. They are told also of one that came from them, as its Via
        says: anybody may say that."""
        request, data = connection.request, connection.data
        if self._node is None or request is None:
            return
        topology = self._node.situation().topology
        for key in sorted(outdated_by(request, data.vip, elsewhere)):
            for proxy in proxies_storing(topology, data.application, key):
                self._say(self._outdated.add(proxy.number, key, self._rng.getrandbits(128).to_bytes(16), now))
        self._alarm.set(self._outdated.next_timeout())

    def _say(self, said: Iterable[Say]) -> None:
        for peer, message in said:
            if self._node is not None:
                send(self._node, peer, message)

    def _number(self, proxy: str) -> int:
        assert self._node is not None
        return self._node.situation().topology.nodes[proxy].number
