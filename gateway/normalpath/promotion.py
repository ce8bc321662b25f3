"""A connection of the fast path becomes one of this node's own stack, and goes back to the fast path.

Nothing here waits: a connection is made, or frozen and given back, while no other task of the process runs.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Literal, Protocol

from braid.tcp import repair
from braid.tun import DEVICE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord
    from topology.model import SocketAddress

MOST_RESIDUE = 131_072
"""Bytes that the core takes over for each side, to send until they are acknowledged."""
_TIMESTAMPS = 12
"""Bytes of a segment that the option takes."""
TOO_MUCH = "too_much_queued"
"""The reason not to go back that passes by itself."""
SETTLE = 1.0
"""Seconds that the queues of a connection which may go back get to become short, while no more is read into a long
one."""
SETTLE_LOOK = 0.002

Side = tuple[bytes, "TcpRecord"]
"""One side of a connection as the core told of it: its record, encoded and decoded."""

Departure = tuple[Literal["went"], int, int, float] | tuple[Literal["stays"], str, bool]
"""As the relay in Rust says it."""


class Carrier(Protocol):
    """What a connection that leaves it needs of the relay in Rust."""

    def depart(self, core: ConnectionApi, client: int, connection: int) -> Departure | None: ...


class Promoted:
    """A connection that the stack has. Raises RuntimeError when the core has ended."""

    def __init__(self, core: ConnectionApi, number: int, client: TcpRecord) -> None:
        self.number = number
        """The core's, by which it knows the connection."""
        self.client = client
        self.away = False
        """Whether it went back."""
        self._core = core

    def open_server(self, server: SocketAddress) -> socket.socket | None:
        """A socket to be connected to a server, bound to the address and port that the NAT gave to this connection; one
        that it had before must be closed. None: an ordinary socket has to serve, and the connection stays in the stack.
        """
        host = str(server.host)
        if server.host.version != self.client.local.host.version or repair.is_own(host):
            return None
        where = self._core.open_server(self.number, host, server.port)
        if where is None:
            return None
        mss = self.client.mss - (_TIMESTAMPS if self.client.timestamp is not None else 0)
        try:
            return repair.bound(where, DEVICE, mss)
        except OSError:
            return None

    def leave(self, relay: Carrier, client: int) -> Departure | None:
        """Go on in the data plane; ``client`` is a number of the relay's, which has both sockets. What became of it;
        None: it is not as it was when the relay offered it."""
        found = relay.depart(self._core, client, self.number)
        self.away = found is not None and found[0] == "went"
        return found

    def give_back(
        self,
        client: int,
        server: int,
        to_client: bytes,
        to_server: bytes,
        close: Callable[[], None],
        until: int | None = None,
    ) -> str | None:
        """Go on in the data plane; ``client`` and ``server`` are descriptors, and ``close`` closes both, without a
        word. Bytes that were read and not written yet go along. ``until``: behind so many bytes that the server's
        socket has yet to give, the client's next bytes are a request of the stack's. The reason if it stays, a word."""
        reason = repair.give_back(self._core, self.number, (client, server), (to_client, to_server), until)
        if reason is None:
            close()
            self.away = True
        return reason


def promote(
    core: ConnectionApi, number: int, client: Side, server: Side | None = None
) -> tuple[Promoted, socket.socket, socket.socket | None]:
    """Build a client's socket, and that of its server where it has one, and let the packets that wait for them in.
    OSError if the kernel does not take them."""
    opened: list[socket.socket] = []
    try:
        for encoded, record in (client,) if server is None else (client, server):
            opened.append(repair.build_encoded(encoded, record, DEVICE))
            repair.start(opened[-1])
        core.take(number)
    except BaseException:
        for each in opened:
            repair.dissolve(each)
        raise
    return Promoted(core, number, client[1]), opened[0], opened[1] if server is not None else None


def name_of(error: OSError) -> str:
    """The reason why a socket was not built, in a word."""
    return f"build_{errno.errorcode.get(error.errno or 0, 'failed').lower()}"


def under_way(to: int, source: int, more: bytes) -> int:
    """Bytes from one side that the other one has not acknowledged; both are descriptors."""
    return repair.unsettled(to) + len(more) + repair.unread(source)
