"""Which connections a content proxy takes, and by what it answers what comes with them. Cheap: a gateway waits for the
refusal, and the origin's answer with it. So what the key alone decides is decided before the request is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from braid.errors import BadPacket
from braid.stored import Wanted
from braid.tcp.record import decode_record
from braid.transfer import Reason, numbers_of
from braid.transfer_table import Candidate, allowing, least_of, next_on, path_of, serves, takes_all
from content.asked import read_request
from content.delegated import begins_with_tls, names_host, refusal_of_hello
from content.message import field
from content.reach import may_ask, vips_of
from content.taken import Found
from topology.transfer import TransferMode

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import Situation
    from braid.tcp.record import TcpRecord
    from braid.transfer import TransferRequest
    from content.cache import Cache, Ready
    from content.keys import Keys
    from content.message import Request
    from content.sites import Find
    from topology.model import IPAddress, SocketAddress, Topology
    from topology.transfer import TransferRow


UNREACHED_FOR = 2.0
"""Seconds until an origin that could not be reached is asked again for a client whom the gateway can serve."""
MOST_UNREACHED = 1000


class Judged(NamedTuple):
    """A connection that may be taken over."""

    record: TcpRecord
    edge: str
    application: str
    found: Found | None
    """By what its request is answered; None where it begins with TLS."""


class Judge:
    """``room``: whether one more may be served; ``tls`` knows which names it can prove."""

    def __init__(
        self,
        cache: Cache,
        find: Find,
        wall: Callable[[], float],
        room: Callable[[], bool],
        draining: Callable[[], bool],
        tls: Keys,
    ) -> None:
        self._cache = cache
        self._find = find
        self._wall = wall
        self._room = room
        self._draining = draining
        self._tls = tls
        self._unreached: dict[str, float] = {}
        """Origins that this node could not reach, and until when it leaves them to the gateways."""
        self._known: tuple[Topology, dict[IPAddress, tuple[str, str]]] | None = None

    def why_nothing(self) -> Reason | None:
        """Why whatever is offered is refused now."""
        if self._draining():
            return Reason.DRAINING
        return None if self._room() else Reason.BUSY

    def vips(self, situation: Situation) -> dict[IPAddress, tuple[str, str]]:
        """Edge node and application of each VIP that sockets may be built for."""
        if self._known is None or self._known[0] is not situation.topology:
            self._known = situation.topology, vips_of(situation)
        return self._known[1]

    def offered(self, situation: Situation, peer: int, request: TransferRequest) -> Reason | Judged:
        """Why this connection is not taken over, or what is known of it. What is not stored is not fetched: see
        ``missed``."""
        topology = situation.topology
        try:
            record = decode_record(request.record)
            edge, name = self.vips(situation).get(record.local.host, ("", ""))
            if not may_ask(topology, peer, name):
                return Reason.NOT_DELEGATED
            nothing = self.why_nothing()
            if nothing is not None:
                return nothing
            tls = begins_with_tls(topology, name)
            if not tls and self._lacks(situation, name, request.content):
                return Reason.CONTENT
        except BadPacket:
            return Reason.MISMATCH
        if numbers_of(record) != request.numbers:
            return Reason.MISMATCH
        region = topology.nodes[edge].region
        if tls:
            why = refusal_of_hello(request, record, name, region, situation, self._find, self._tls, self._wall())
            return Judged(record, edge, name, None) if why is None else why
        found = read_request(record.unread, self._find)
        if found is None or found[0].key.encode("latin-1", "replace") != request.content:
            return Reason.CONTENT
        if not names_host(situation, found[0].host):
            return Reason.NOT_DELEGATED
        row = self._row(situation, self._candidate(found[0], name, record.remote, region))
        if row is None:
            return Reason.VARIANT
        ready = self._ready(row, found[0])
        if ready is None and not self._serves(row, found[0]):
            return Reason.CONTENT if row.mode is TransferMode.SERVE else Reason.VARIANT
        return Judged(record, edge, name, Found(*found, ready, len(record.unread)))

    def missed(self, situation: Situation, peer: int, request: TransferRequest) -> None:
        """It was refused for its content, which is fetched if it may be stored, for those that ask next."""
        try:
            record = decode_record(request.record)
        except BadPacket:
            return
        wanted = Wanted(record.remote, record.local, record.unread)
        if self.may_want(situation, peer, wanted):
            self.wanted(situation, wanted)

    def _lacks(self, situation: Situation, application: str, content: bytes) -> bool:
        """Whether nothing is stored under a key that any row would have served from here, and none has all served."""
        key, rows = content.decode("latin-1"), situation.topology.transfers
        path = path_of(key)
        least = least_of(rows, application, situation.node, path)
        longest = max((entry.length for entry in self._cache.store.index.find(key)), default=-1)
        if least is not None and longest >= least:
            return False
        return not takes_all(rows, application, situation.node, path, self._wall())

    def may_want(self, situation: Situation, peer: int, message: Wanted) -> bool:
        """Whether it is a gateway that serves the VIP."""
        _, name = self.vips(situation).get(message.vip.host, ("", ""))
        return may_ask(situation.topology, peer, name)

    def wanted(self, situation: Situation, message: Wanted) -> None:
        """A gateway offers no connection for what is not stored; it may be next time. Of one that ``may_want`` it."""
        edge, name = self.vips(situation).get(message.vip.host, ("", ""))
        found = read_request(message.request, self._find)
        if edge and found is not None and not self._draining():
            region = situation.topology.nodes[edge].region
            self._stored(situation, found[0], self._candidate(found[0], name, message.client, region))

    def keeps(self, situation: Situation, asked: Request, application: str, client: SocketAddress, region: str) -> bool:
        """Whether the next request of a connection that is here is answered here. What should be there, and is not yet,
        is fetched, or that comes later. ``region`` is that of the client's edge."""
        candidate = self._candidate(asked, application, client, region)
        row = self._row(situation, next_on(candidate))
        if row is not None and self._serves(row, asked):
            return True
        return self._stored(situation, asked, candidate)

    def _candidate(self, asked: Request, application: str, client: SocketAddress, region: str) -> Candidate:
        path = asked.target.partition(b"?")[0].decode("latin-1")
        method = asked.method.decode("ascii", "replace")
        return Candidate(application, client.host, region, asked.port, method, asked.host, path)

    def _row(self, situation: Situation, candidate: Candidate) -> TransferRow | None:
        """By which this node is to answer."""
        return allowing(situation.topology.transfers, candidate, situation.node, self._wall())

    def _stored(self, situation: Situation, asked: Request, candidate: Candidate) -> bool:
        """Whether the answer is there, and one that this node shall give; where it is not there it is fetched."""
        row = self._row(situation, candidate)
        if row is None:
            return False
        ready = self._cache.ready(asked)
        if ready is not None:
            return ready.entry.length >= row.least
        site = self._find(asked.host, asked.port)
        if site is not None:
            self._cache.warm(asked, site)
        return False

    def _ready(self, row: TransferRow, asked: Request) -> Ready | None:
        ready = self._cache.ready(asked)
        return None if ready is None or ready.entry.length < row.least else ready

    def out_of_reach(self, asked: Request) -> None:
        """Its origin could not be reached: for a while only what is stored of it is served on others' connections."""
        if len(self._unreached) >= MOST_UNREACHED:
            self._unreached.clear()
        self._unreached[asked.authority] = self._wall() + UNREACHED_FOR

    def _serves(self, row: TransferRow, asked: Request) -> bool:
        method = asked.method.decode("ascii", "replace")
        # A clock that was set back would make it hours.
        unreached = 0.0 < self._unreached.get(asked.authority, 0.0) - self._wall() <= UNREACHED_FOR
        return not unreached and serves(row, method, upgrade=field(asked.headers, b"upgrade") is not None)
