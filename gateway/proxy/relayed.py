"""What is known of one connection whose bytes Rust carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from topology.proxy import ClientAddress

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.events import ClientData, Request, ServerData
    from gateway.proxy.pool import ProxiedApplication, Speech
    from topology.model import SocketAddress, Target


@dataclass(frozen=True, slots=True)
class Kept:
    """A client's connection to a server."""

    socket: socket.socket
    address: SocketAddress


@dataclass(eq=False, slots=True)
class RelayedConnection:
    """One client connection of the relay; what is known of the request under way."""

    number: int
    application: ProxiedApplication
    data: ClientData
    speech: Speech
    promoted: Promoted | None = None
    held_at: float = 0.0
    """As in ``ServiceRequest``, until the first request can be read."""
    request: Request | None = None
    target: str = ""
    server: ServerData | None = None
    tried: list[Target] = field(default_factory=list)
    under_way: bool = False
    """Whether the server counts this request as active."""
    may_return: bool = True
    """Whether it may go on in the data plane, if the stack has it from there."""
    stays: str = ""
    """Why it did not go when it might have, in a word: of the request under way, or for good."""
    whole: bool = False
    """Whether it ended in order."""
    ended: trio.Event = field(default_factory=trio.Event)
    done: Callable[[], None] | None = None
    """Called when the relay has it no more."""

    def asked(self) -> None:
        """A request has come; no server was tried for it."""
        self.tried.clear()
        self.server = None
        if self.promoted is not None:
            self.promoted.life.requests += 1

    @property
    def is_transparent(self) -> bool:
        """Whether its servers have to see the client's own address."""
        return self.application.settings.client_address is ClientAddress.TRANSPARENT

    def end(self, *, whole: bool) -> None:
        self.whole = whole
        self.rest()
        self.ended.set()
        if self.done is not None:
            self.done()

    def begin(self, chosen: ServerData) -> None:
        self.server = chosen
        self.application.begin(chosen.target)
        self.under_way = True

    def stay(self, why: str) -> None:
        """It did not go; counted."""
        self.stays = why
        self.application.stayed(why)

    def rest(self) -> None:
        """Nothing of it is under way at its server."""
        self.stays = "" if self.may_return else self.stays
        if self.under_way and self.server is not None:
            self.under_way = False
            self.application.end(self.server.target)
