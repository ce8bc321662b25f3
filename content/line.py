"""The worker's line to the data threads of its node: what neighbours say to it, and what it answers, does not wait for
the keeper. ``dataplane/py/src/line.rs`` has the other end, and the picture of what goes by it.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import trio

from braid.stored import STORED, WANTED
from braid.transfer import REQUEST, STEERED
from braid.transfer_parts import PART
from braid.transfer_progress import HEARD
from content.channel import BATCH, PATIENCE, Silent

if TYPE_CHECKING:
    from topology.model import SocketAddress

KINDS = bytes([*range(REQUEST, STEERED + 1), PART, HEARD, STORED, WANTED])
"""Of control messages that a worker hears."""
OWNERS = ("", "away", "held", "here")
_PEER = struct.Struct("!H")
_TELL = struct.Struct("!BH")
_OWN = struct.Struct("!2B2HB")
_MOST = 2048
_PATIENCE = struct.pack("ll", PATIENCE // 1000, PATIENCE % 1000 * 1000)


class Line:
    def __init__(self, hears: socket.socket, says: socket.socket) -> None:
        hears.setblocking(False)
        says.setblocking(True)
        says.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        self._hears = hears
        self._says = says

    async def receive(self) -> list[tuple[int, bytes]]:
        """Control messages of neighbours, by their numbers: at least one, or none when the other end is closed."""
        await trio.lowlevel.wait_readable(self._hears)
        found: list[tuple[int, bytes]] = []
        while len(found) < BATCH:
            try:
                data = self._hears.recv(_MOST)
            except BlockingIOError:
                if found:
                    break
                await trio.lowlevel.wait_readable(self._hears)
                continue
            except ConnectionError:
                data = b""
            if not data:
                break
            found.append((*_PEER.unpack_from(data), data[_PEER.size :]))
        return found

    def tell(self, peer: int, message: bytes) -> None:
        """``Silent``, here and below, when the other end has gone or hears nothing any more."""
        self._send(_TELL.pack(0, peer) + message)

    def own(self, client: SocketAddress, vip: SocketAddress, owner: str) -> None:
        """As ``NodeHandle.set_owner``, without waiting. What is told afterwards leaves afterwards."""
        words = _OWN.pack(1, OWNERS.index(owner), client.port, vip.port, vip.host.version)
        self._send(words + client.host.packed + vip.host.packed)

    def _send(self, data: bytes) -> None:
        try:
            self._says.send(data)
        except (BlockingIOError, ConnectionError) as error:
            raise Silent("the data thread hears nothing") from error
