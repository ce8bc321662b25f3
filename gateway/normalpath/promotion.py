"""A connection of the fast path becomes one of this node's own stack, and goes back to the fast path.

Nothing here waits: a connection is made, or frozen and given back, while no other task of the process runs.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

from braid.tcp import repair
from braid.tcp.record import encode_record
from braid.tun import DEVICE
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord
    from topology.model import IPAddress

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
        if server.host.version != self.client.local.host.version or _is_own(server.host):
            return None
        where = self._core.open_server(self.number, str(server.host), server.port)
        if where is None:
            return None
        mss = self.client.mss - (_TIMESTAMPS if self.client.timestamp is not None else 0)
        try:
            return repair.bound(SocketAddress(ip_address(where[0]), where[1]), DEVICE, mss)
        except OSError:
            return None

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
        if max(under_way(client, server, to_client), under_way(server, client, to_server)) > MOST_RESIDUE:
            return TOO_MUCH
        if not self._core.hold(self.number):
            return "not_held"
        frozen: list[socket.socket] = []
        with _plain(client) as of_client, _plain(server) as of_server:
            try:
                record = repair.freeze(of_client)
                frozen.append(of_client)
                other = repair.freeze(of_server)
                frozen.append(of_server)
                # What came in between is acknowledged, and would be lost.
                seen = repair.unread(client), repair.unread(server)
                late = seen != (len(record.unread), len(other.unread))
                reason = "not_quiet" if late else _obstacle(record, other, to_client, to_server)
                if reason is None:
                    first, second = encode_record(record), encode_record(other)
                    behind = None if until is None else until - len(other.unread)
                    self._core.splice(self.number, first, second, to_client, to_server, behind)
            except repair.FreezeError as error:
                reason = str(error)
            except ValueError as error:
                reason = str(error)
            if reason is not None:
                for each in frozen:
                    repair.start(each)
                self._core.take(self.number)
                return reason
            close()
        self.away = True
        # Both are frozen: the last of their descriptors has gone without a word.
        return None


def promote(
    core: ConnectionApi, number: int, client: TcpRecord, server: TcpRecord | None = None
) -> tuple[Promoted, socket.socket, socket.socket | None]:
    """Build a client's socket, and that of its server where it has one, and let the packets that wait for them in.
    OSError if the kernel does not take them."""
    opened: list[socket.socket] = []
    try:
        for record in filter(None, (client, server)):
            opened.append(repair.build(record, DEVICE))
            repair.start(opened[-1])
        core.take(number)
    except BaseException:
        for each in opened:
            repair.dissolve(each)
        raise
    return Promoted(core, number, client), opened[0], opened[1] if server is not None else None


def name_of(error: OSError) -> str:
    """The reason why a socket was not built, in a word."""
    return f"build_{errno.errorcode.get(error.errno or 0, 'failed').lower()}"


def _obstacle(client: TcpRecord, server: TcpRecord, to_client: bytes, to_server: bytes) -> str | None:
    """Why a pair of frozen connections cannot be translated."""
    if client.timestamp is None and server.timestamp is not None:
        return "timestamps_of_the_server_alone"
    owed = (
        len(client.unacknowledged) + len(client.unsent) + len(to_client) + len(server.unread),
        len(server.unacknowledged) + len(server.unsent) + len(to_server) + len(client.unread),
    )
    return TOO_MUCH if max(owed) > MOST_RESIDUE else None


def under_way(to: int, source: int, more: bytes) -> int:
    """Bytes from one side that the other one has not acknowledged; both are descriptors."""
    return repair.unsettled(to) + len(more) + repair.unread(source)


@contextmanager
def _plain(descriptor: int) -> Iterator[socket.socket]:
    """A connection's socket under a second descriptor."""
    with socket.socket(fileno=os.dup(descriptor)) as plain:
        plain.setblocking(False)
        yield plain


def _is_own(host: IPAddress) -> bool:
    """Whether an address is one of this host: its packets would not pass the TUN."""
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(host), 9))
        except OSError:
            return False
        return ip_address(probe.getsockname()[0]) == host
