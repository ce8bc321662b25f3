"""The worker's line to the data threads of its node: what neighbours say to it, and what it answers, does not wait for
the keeper. ``dataplane/line`` has the other end, and the picture of what goes by it (``words.rs``).
"""

from __future__ import annotations

import socket
import struct
import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import trio

from braid.outdated import OUTDATED
from braid.stored import STORED, WANTED
from braid.transfer import REQUEST, STEERED, Reason
from braid.transfer_parts import PART
from braid.transfer_progress import HEARD
from content.channel import BATCH, PATIENCE, Silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.model import IPAddress, SocketAddress

KINDS = bytes([*range(REQUEST, STEERED + 1), PART, HEARD, STORED, WANTED, OUTDATED])
"""Of control messages that a worker hears."""
OWNERS = ("", "away", "held", "here")
_SAID = struct.Struct("!BH")
_TELL = struct.Struct("!BH")
_OWN = struct.Struct("!2B2HB")
_SERVE = 2
_NOT_KNOWN, _KEYS, _NO_KEYS, _NOTHING, _VIP, _CLOCK = range(6)
_AT_ONCE = 1024
"""Bytes of keys in one message, and what is said of them."""
_STEADY = 0.05
"""Seconds that a clock may drift."""
_MOST_GATEWAYS = 500
_MOST = 2048
_PATIENCE = struct.pack("ll", PATIENCE // 1000, PATIENCE % 1000 * 1000)


class Said(NamedTuple):
    """A control message of a neighbour."""

    peer: int
    message: bytes
    refused: Reason | None
    """The data thread has refused what it asks for, because of that."""


class Line:
    def __init__(self, hears: socket.socket, says: socket.socket) -> None:
        hears.setblocking(False)
        says.setblocking(True)
        says.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
        self._hears = hears
        self._says = says
        self._clock = -inf
        """What it was when the data threads' was zero, as they know."""

    async def receive(self) -> list[Said]:
        """At least one, or none when the other end is closed."""
        await trio.lowlevel.wait_readable(self._hears)
        found: list[Said] = []
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
            refused, peer = _SAID.unpack_from(data)
            found.append(Said(peer, data[_SAID.size :], Reason(refused) if refused else None))
        return found

    def tell(self, peer: int, message: bytes) -> None:
        """``Silent``, here and below, when the other end has gone or hears nothing any more."""
        self._send(_TELL.pack(0, peer) + message)

    def own(self, client: SocketAddress, vip: SocketAddress, owner: str) -> None:
        """As ``NodeHandle.set_owner``, without waiting. What is told afterwards leaves afterwards."""
        words = _OWN.pack(1, OWNERS.index(owner), client.port, vip.port, vip.host.version)
        self._send(words + client.host.packed + vip.host.packed)

    def forget(self) -> None:
        """Here and below as ``braid.role.Serves``."""
        self._serve(_NOT_KNOWN)
        self._clock = -inf

    def add(self, told: Sequence[bytes]) -> None:
        self._serve_all(_KEYS, told)

    def remove(self, keys: Sequence[bytes]) -> None:
        self._serve_all(_NO_KEYS, keys)

    def clock(self, now: float) -> None:
        zero = now - time.clock_gettime(time.CLOCK_BOOTTIME)
        if abs(zero - self._clock) > _STEADY:
            self._clock = zero
            self._serve(_CLOCK, struct.pack("!d", zero))

    def refuse(self, reason: Reason | None) -> None:
        self._serve(_NOTHING, bytes([reason or 0]))

    def judge(self, vip: IPAddress, gateways: Sequence[int]) -> None:
        if len(gateways) <= _MOST_GATEWAYS:
            self._serve(_VIP, bytes([vip.version]), vip.packed, struct.pack(f"!{len(gateways)}H", *gateways))

    def _serve_all(self, what: int, words: Sequence[bytes]) -> None:
        some: list[bytes] = []
        size = 0
        for word in words:
            if size + len(word) > _AT_ONCE:
                self._serve(what, *some)
                some, size = [], 0
            some.append(word)
            size += len(word)
        if some:
            self._serve(what, *some)

    def _serve(self, what: int, *words: bytes) -> None:
        self._send(bytes([_SERVE, what]) + b"".join(words))

    def _send(self, data: bytes) -> None:
        try:
            self._says.send(data)
        except (BlockingIOError, ConnectionError) as error:
            raise Silent("the data thread hears nothing") from error
