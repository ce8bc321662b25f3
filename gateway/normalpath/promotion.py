"""A connection of the fast path becomes one of this node's own stack, and goes back to the fast path.

Nothing here waits: a connection is made, or frozen and given back, while no other task of the process runs.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from braid.tcp import repair
from braid.tcp.record import decode_record, encode_record, first_numbers
from braid.tun import DEVICE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord
    from topology.model import SocketAddress

MOST_RESIDUE = 131_072
"""Bytes that the core takes over for each side, to send until they are acknowledged."""
_TIMESTAMPS = 12
"""Bytes of a segment that the option takes."""
TOO_MUCH = "too_much_queued"
"""The reason not to go back that passes by itself."""
NOT_QUIET = "not_quiet"
"""That something came in between: of HTTP the next request, which has nothing to do with the one after it."""
SETTLE = 1.0
"""Seconds that the queues of a connection which may go back get to become short, while no more is read into a long
one."""
SETTLE_LOOK = 0.002

Departure = tuple[Literal["went"], int, int, float] | tuple[Literal["stays"], str, bool]
"""As the relay in Rust says it."""


@dataclass(slots=True)
class Life:
    """What this gateway knows of a client's connection since it has had it, whoever carried its bytes."""

    first: tuple[int, int]
    """Numbers of the first byte to the client, and of the first of the client."""
    requests: int = 0


class Carrier(Protocol):
    """What a connection that leaves it needs of the relay in Rust."""

    def depart(
        self, core: ConnectionApi, client: int, connection: int, held: float | None = None
    ) -> Departure | None: ...
    def park(self, core: ConnectionApi, client: int, connection: int) -> Departure | None: ...


class Promoted:
    """A connection that the stack has. Raises RuntimeError when the core has ended."""

    def __init__(
        self,
        core: ConnectionApi,
        number: int,
        mss: int,
        *,
        timestamps: bool,
        first: tuple[int, int] = (0, 0),
        guest: bool = False,
    ) -> None:
        self.core = core
        self.number = number
        """The core's, by which it knows the connection."""
        self.mss = mss - (_TIMESTAMPS if timestamps else 0)
        """Bytes of a segment that its client takes, for servers."""
        self.guest = guest
        """Whether another gateway has had it."""
        self.away = False
        """Whether it went back, or to another node."""
        self.first = first
        """Numbers of the first bytes that the stack's socket had, as of ``Life``."""
        self.life = Life(first)

    def go_on(self, life: Life) -> None:
        """It is a connection that was here before."""
        self.life = life

    def before(self) -> tuple[int, int]:
        """Bytes to the client and of the client that were before the stack's socket, modulo 2^32."""
        sent, received = self.life.first
        return (self.first[0] - sent) % (1 << 32), (self.first[1] - received) % (1 << 32)

    def open_server(self, server: SocketAddress) -> socket.socket | None:
        """A socket to be connected to a server, bound to the address and port that the NAT gave to this connection; one
        that it had before must be closed. None: an ordinary socket has to serve, and the connection stays in the stack.
        """
        (where,) = self.core.open_servers([], [(self.number, str(server.host), server.port, False)])
        if where is None:
            return None
        try:
            return repair.bound(where, DEVICE, self.mss)
        except OSError:
            return None

    def leave(self, relay: Carrier, client: int, held: float | None = None) -> Departure | None:
        """Go on in the data plane; ``client`` is a number of the relay's, which has both sockets. What became of it;
        None: it is not as it was when the relay offered it. ``held``: the core holds it as its server has begun to
        send; the moment, on the relay's clock. What stays then is the stack's again."""
        found = relay.depart(self.core, client, self.number, held)
        self.away = found is not None and found[0] == "went"
        return found

    def park(self, relay: Carrier, client: int) -> Departure | None:
        """Wait in the data plane for the next request, without a server; otherwise as ``leave``."""
        found = relay.park(self.core, client, self.number)
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
        reason = repair.give_back(self.core, self.number, (client, server), (to_client, to_server), until)
        if reason is None:
            close()
            self.away = True
        return reason


def promote(promoted: Promoted, client: bytes, server: bytes | None) -> tuple[socket.socket, socket.socket | None]:
    """Build a client's socket, and that of its server where it has one, of their records, and let the packets that wait
    for them in. OSError if the kernel does not take them, BadPacket where these are no records."""
    opened: list[socket.socket] = []
    try:
        for encoded in (client,) if server is None else (client, server):
            opened.append(repair.build_encoded(encoded, decode_record(encoded), DEVICE))
            repair.start(opened[-1])
        promoted.core.take(promoted.number)
    except BaseException:
        for each in opened:
            repair.dissolve(each)
        raise
    return opened[0], opened[1] if server is not None else None


def adopt(core: ConnectionApi, record: TcpRecord, *, guest: bool) -> tuple[socket.socket, Promoted]:
    """Build the socket, frozen, of a connection that another node had, and whose client's packets are held. OSError if
    the kernel or the core does not take it."""
    encoded = encode_record(record)
    opened = repair.build_encoded(encoded, record, DEVICE)
    try:
        number = core.adopt(encoded, guest)
        if number is None:
            raise OSError(errno.EADDRINUSE, "the data plane does not take the connection")
    except BaseException:
        repair.dissolve(opened)
        raise
    first = first_numbers(encoded)
    return opened, Promoted(core, number, record.mss, timestamps=record.timestamp is not None, first=first, guest=guest)


def open_servers(
    taken: Sequence[Promoted], wanted: Sequence[tuple[Promoted, str, int, bool]]
) -> Sequence[tuple[str, int] | None]:
    """Let the packets in that wait for connections which were built; and give others servers: host, port, and whether
    ``ConnectionHeld`` is to come with the server's first bytes. From where each is talked to; None: as ``open_server``.
    """
    if not taken and not wanted:
        return ()
    core = (taken[0] if taken else wanted[0][0]).core
    asked = [(each.number, host, port, holds) for each, host, port, holds in wanted]
    return core.open_servers([each.number for each in taken], asked)


def name_of(error: OSError) -> str:
    """The reason why a socket was not built, in a word."""
    return f"build_{errno.errorcode.get(error.errno or 0, 'failed').lower()}"


def under_way(to: int, source: int, more: bytes) -> int:
    """Bytes from one side that the other one has not acknowledged; both are descriptors."""
    return repair.unsettled(to) + len(more) + repair.unread(source)
