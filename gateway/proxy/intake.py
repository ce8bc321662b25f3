"""Connections that the fast path wants the stack to take: built, counted, known when they are asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid import log as logs
from braid.errors import BadPacket
from braid.events import ConnectionEnded, ServiceRequest
from braid.tcp.record import decode_record
from gateway.normalpath.promotion import name_of, promote
from gateway.proxy.relayed import Kept

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.pool import ProxiedApplication
    from topology.model import IPAddress

log = logs.get(__name__)

REPEATED = 8192
"""Service requests that are known when they come again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that the stack has now."""

    application: ProxiedApplication
    socket: socket.socket
    record: TcpRecord
    promoted: Promoted
    held_at: float
    """As in ``ServiceRequest``."""
    server: Kept | None
    """Its server's side, where it was spliced."""


class Intake:
    """``application_of`` says what a VIP serves, if anything; ``serve`` gets what was taken; ``ended`` hears of a
    connection that the core does not have any more."""

    def __init__(
        self,
        core: ConnectionApi,
        application_of: Callable[[IPAddress], ProxiedApplication | None],
        serve: Callable[[Arrival], None],
        ended: Callable[[int], None],
    ) -> None:
        self.draining = False
        """Whether nothing more is taken."""
        self._core = core
        self._application_of = application_of
        self._serve = serve
        self._ended = ended
        self._taken: dict[int, Promoted] = {}

    def receive(self, event: ServiceRequest | ConnectionEnded) -> None:
        match event:
            case ServiceRequest(number):
                known = self._taken.get(number)
                if known is None or known.away:
                    self._take(event)
            case ConnectionEnded(number):
                self._taken.pop(number, None)
                self._ended(number)

    def _take(self, request: ServiceRequest) -> None:
        number = request.connection
        try:
            record = decode_record(request.client)
            server = None if request.server is None else decode_record(request.server)
        except BadPacket as error:
            log.error("the core's record of a connection is none", problem=str(error))
            self._core.reset_connection(number)
            return
        application = self._application_of(record.local.host)
        if application is None or self.draining:
            self._core.reset_connection(number)
            return
        if not application.ended(number):
            application.counters.connections += 1
        if application.full:
            application.count("too_many_connections")
            self._core.reset_connection(number)
            return
        try:
            other_side = (request.server, server) if request.server is not None and server is not None else None
            promoted, opened, other = promote(self._core, number, (request.client, record), other_side)
        except OSError as error:
            application.count(name_of(error))
            log.debug("no socket for a connection", problem=str(error))
            self._core.reset_connection(number)
            return
        self._taken.pop(number, None)
        self._taken[number] = promoted
        if len(self._taken) > REPEATED:
            del self._taken[next(iter(self._taken))]
        application.counters.promoted += 1
        kept = Kept(other, server.remote) if other is not None and server is not None else None
        self._serve(Arrival(application, opened, record, promoted, request.held_at, kept))
