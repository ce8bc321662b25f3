"""Connections that the fast path wants the stack to take: built, counted, known when they are asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid import log as logs
from braid.errors import BadPacket
from braid.events import ConnectionEnded, ConnectionHeld, ServiceRequest
from braid.tcp.record import decode_ends, first_numbers
from gateway.normalpath.promotion import Promoted, adopt, name_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from braid.core import ConnectionApi
    from braid.events import ConnectionEvent
    from braid.tcp.record import Ends, TcpRecord
    from gateway.proxy.pool import ProxiedApplication
    from topology.model import IPAddress, SocketAddress

log = logs.get(__name__)

REPEATED = 8192
"""Service requests that are known when they come again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that the stack is to have."""

    application: ProxiedApplication
    promoted: Promoted
    ends: Ends
    request: ServiceRequest
    server: SocketAddress | None
    """Where it was spliced."""
    idle: bool = False
    """It has waited for its client for too long, and is to end."""


class Intake:
    """``application_of`` says what a VIP serves, if anything; ``serve`` builds what is taken, and raises OSError, or
    BadPacket, where that cannot be; ``held`` and ``ended`` hear of what was taken."""

    def __init__(
        self,
        core: ConnectionApi,
        application_of: Callable[[IPAddress], ProxiedApplication | None],
        serve: Callable[[Arrival], None],
        held: Callable[[Promoted, float], None],
        ended: Callable[[int], None],
    ) -> None:
        self.draining = False
        """Whether nothing more is taken."""
        self._core = core
        self._application_of = application_of
        self._serve = serve
        self._held = held
        self._ended = ended
        self._taken: dict[int, Promoted] = {}
        self._built: dict[tuple[SocketAddress, SocketAddress], int] = {}
        """By client and VIP: the connection whose socket was built last."""

    def receive(self, event: ConnectionEvent) -> None:
        match event:
            case ServiceRequest(number):
                known = self._taken.get(number)
                if known is None or known.away:
                    self._take(event)
            case ConnectionHeld(number, at):
                known = self._taken.get(number)
                if known is not None:
                    self._held(known, at)
            case ConnectionEnded(number):
                self._taken.pop(number, None)
                self._ended(number)

    def _take(self, request: ServiceRequest) -> None:
        number = request.connection
        try:
            ends, first = decode_ends(request.client), first_numbers(request.client)
            server = None if request.server is None else decode_ends(request.server).remote
        except BadPacket as error:
            self._refuse(number, error)
            return
        application = self._application_of(ends.local.host)
        if application is None or self.draining:
            self._core.reset_connection(number)
            return
        known = self._taken.get(number)
        parked = known is not None and known.away
        if not (application.ended(number) or parked):
            application.counters.connections += 1
        if application.full:
            application.count("too_many_connections")
            self._core.reset_connection(number)
            return
        promoted = Promoted(
            self._core, number, ends.mss, timestamps=ends.timestamps, first=first, guest=request.guest
        )  # fmt: skip
        if known is not None:
            promoted.go_on(known.life)
        self._make_way(number, (ends.remote, ends.local))
        try:
            idle = server is None and not (request.held_at or application.accept == "at-once")
            self._serve(Arrival(application, promoted, ends, request, server, idle))
        except BadPacket as error:
            self._refuse(number, error)
            return
        except OSError as error:
            application.count(name_of(error))
            log.debug("no socket for a connection", problem=str(error))
            self._core.reset_connection(number)
            return
        self._remember(promoted)
        application.counters.promoted += 1

    def _make_way(self, number: int, ends: tuple[SocketAddress, SocketAddress]) -> None:
        """A client has one connection of its ends. That the one before was reset may be told only when the core hears
        that the stack has it; and the kernel builds no second socket of the same ends."""
        before = self._taken.get(self._built.pop(ends, number))
        if before is not None and before.number != number and not before.away:
            self._ended(before.number)
        self._built[ends] = number
        if len(self._built) > REPEATED:
            del self._built[next(iter(self._built))]

    def adopt(self, record: TcpRecord, *, guest: bool) -> tuple[socket.socket, Promoted]:
        """The socket, frozen, of a connection that another node had. OSError if it cannot be."""
        opened, promoted = adopt(self._core, record, guest=guest)
        self._remember(promoted)
        return opened, promoted

    def _remember(self, promoted: Promoted) -> None:
        self._taken.pop(promoted.number, None)
        self._taken[promoted.number] = promoted
        if len(self._taken) > REPEATED:
            del self._taken[next(iter(self._taken))]

    def _refuse(self, number: int, error: BadPacket) -> None:
        log.error("the core's record of a connection is none", problem=str(error))
        self._core.reset_connection(number)
