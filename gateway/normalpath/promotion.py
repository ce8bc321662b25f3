"""A connection of the fast path becomes one of this node's own stack, and goes back to the fast path.

Nothing here waits: a connection is made, or frozen and given back, while no other task of the process runs.
"""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

from braid.tcp import repair
from braid.tcp.record import encode_record
from braid.tun import DEVICE
from topology.model import SocketAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trio

    from braid.core import ConnectionApi
    from braid.tcp.record import TcpRecord
    from topology.model import IPAddress

MOST_RESIDUE = 131_072
"""Bytes that the core takes over for each side, to send until they are acknowledged."""
_TIMESTAMPS = 12
"""Bytes of a segment that the option takes."""
TOO_MUCH = "too_much_queued"
"""The reason not to go back that passes by itself."""


class Promoted:
    """A connection that the stack has. Raises RuntimeError when the core has ended."""

    def __init__(self, core: ConnectionApi, number: int, client: TcpRecord) -> None:
        self.number = number
        """The core's, by which it knows the connection."""
        self.client = client
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
        self, client: trio.SocketStream, server: trio.SocketStream, to_client: bytes, to_server: bytes, *, again: bool
    ) -> str | None:
        """Go on in the data plane, and close both sockets without a word. Bytes that were read and not written yet go
        along. ``again``: with the next request it comes back. The reason, a word, if it stays as it is."""
        if max(_waiting(client, server, to_client), _waiting(server, client, to_server)) > MOST_RESIDUE:
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
                reason = _obstacle(record, other, to_client, to_server)
                if reason is None:
                    first, second = encode_record(record), encode_record(other)
                    self._core.splice(self.number, first, second, to_client, to_server, again)
            except repair.FreezeError as error:
                reason = str(error)
            except ValueError:
                reason = "splice_refused"
            if reason is not None:
                for each in frozen:
                    repair.start(each)
                self._core.take(self.number)
                return reason
            # Both are frozen, so the last of their descriptors goes without a word.
            client.socket.close()
            server.socket.close()
        return None


def promote(core: ConnectionApi, number: int, client: TcpRecord) -> tuple[Promoted, socket.socket]:
    """Build a client's socket, and let the packets that wait for it in. OSError if the kernel does not take it."""
    opened = repair.build(client, DEVICE)
    try:
        repair.start(opened)
        core.take(number)
    except BaseException:
        repair.dissolve(opened)
        raise
    return Promoted(core, number, client), opened


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


def _waiting(to: trio.SocketStream, source: trio.SocketStream, more: bytes) -> int:
    """Bytes on their way to one side."""
    return repair.unsettled(to.socket.fileno()) + len(more) + repair.unread(source.socket.fileno())


@contextmanager
def _plain(stream: trio.SocketStream) -> Iterator[socket.socket]:
    """Another descriptor of a stream's socket."""
    with socket.fromfd(stream.socket.fileno(), stream.socket.family, socket.SOCK_STREAM) as plain:
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
