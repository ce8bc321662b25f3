"""Connections whose content proxy is gone, at work: their sockets are built anew, and go on or are reset.

What is left of an answer is asked of the application as any client's request, on a connection inside this process: the
same servers are chosen, and counted, as for a client that had asked for it.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.errors import BadPacket
from braid.tcp.record import decode_record
from braid.tcp.repair import start
from gateway.proxy.events import ClientData
from gateway.transfer.going_on import Afresh, Reset, Rest, way_on
from gateway.transfer.rescue import Broken, send_rest

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from braid.role import NodeHandle
    from braid.tcp.record import TcpRecord
    from braid.transfer import TransferRequest
    from braid.transfer_progress import Seen
    from gateway.normalpath.promotion import Promoted
    from gateway.transfer.moving import Moving
    from topology.model import SocketAddress

    Serve = Callable[[trio.SocketStream, str, Promoted | None], None]
    Inside = Callable[[ClientData], trio.SocketStream | None]

    class Adopt(Protocol):
        """OSError if it cannot be. What comes with the socket is None where listeners accept connections."""

        def __call__(self, record: TcpRecord, *, guest: bool) -> tuple[socket.socket, Promoted | None]: ...


log = logs.get(__name__)
_LINGER = struct.pack("ii", 1, 0)


class Successor:
    """``serve`` has a connection served from its next request on; ``adopt`` builds its socket, frozen; ``inside`` gives
    one that begins in this process to an application; ``count`` hears what became of each."""

    def __init__(self, serve: Serve, adopt: Adopt, inside: Inside, count: Callable[[str], None]) -> None:
        self.clients: set[SocketAddress] = set()
        """Of whom the rest of an answer is under way."""
        self._serve = serve
        self._adopt = adopt
        self._inside = inside
        self._count = count

    def take(
        self, moving: Moving, request: TransferRequest, seen: Seen | None, now: float
    ) -> tuple[socket.socket, Promoted | None, Rest] | None:
        """Go on with a connection whose packets are held; they come when this returns. What is given back is for
        ``send``."""
        try:
            way = way_on(decode_record(request.record), moving.promised, seen, now - moving.began)
            built, promoted = self._adopt(way.record, guest=moving.guest)
            moving.remember(promoted)
        except (BadPacket, OSError) as error:
            self._count("reset_socket")
            log.warning("transferred connection is lost", proxy=moving.proxy, problem=str(error))
            return None
        match way:
            case Reset(_, why):
                self._count(f"reset_{why}")
                log.info("transferred connection is reset", proxy=moving.proxy, content=moving.content, reason=why)
                reset(built)
            case Afresh():
                self._count("served_anew")
                start(built)
                self._serve(_stream(built), moving.application, promoted)
            case Rest():
                start(built)
                return built, promoted, way
        return None

    async def send(
        self, moving: Moving, built: socket.socket, promoted: Promoted | None, rest: Rest, node: NodeHandle
    ) -> None:
        """The rest of an answer, and what the client asks for behind it."""
        client, origin = _stream(built), None
        topology = node.situation().topology
        edge = topology.nodes.get(moving.edge)
        data = ClientData(moving.client, moving.vip, moving.edge, edge.region if edge else "", moving.application)
        self.clients.add(moving.client)
        try:
            if rest.length:
                origin = self._inside(data)
            goes_on = await send_rest(client, origin, rest)
        except Broken as error:
            self._count(f"reset_{error}")
            log.info("transferred connection is reset", proxy=moving.proxy, content=moving.content, reason=str(error))
            return
        finally:
            self.clients.discard(moving.client)
        self._count("resumed")
        if goes_on:
            self._serve(client, moving.application, promoted)


def reset(opened: socket.socket) -> None:
    """RST to the client, if it is still there."""
    start(opened)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    opened.close()


def _stream(opened: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(opened))
