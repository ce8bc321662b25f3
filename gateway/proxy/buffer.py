"""The client transmit buffer: what is known of a client and what it sent, until a server can have it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.proxy.events import ClientData, ServerData


class BufferFull(Exception):
    """More than the buffer's bytes; reading stops before, so a proxy that makes more than it got is wrong."""


SLACK = 262_144
"""Bytes beyond the limit: what had been read from the client when the buffer became full, and added headers."""


class ClientTransmitBuffer:
    """Client data, packets and server data of one connection.

    An application proxy stores; the service gateway determines that all is there and takes. What was taken is kept
    until ``commit``, as long as it fits, so that another server can be sent the same (``rewind``).
    """

    def __init__(self, limit: int, slack: int = SLACK) -> None:
        self.limit = limit
        self._most = 2 * limit + slack
        self.client_data: ClientData | None = None
        self.server_data: ServerData | None = None
        self.needs_packets = True
        self._packets = bytearray()
        self._taken = 0
        self._kept = True

    def store_client(self, client_data: ClientData) -> None:
        self.client_data = client_data

    def store_packets(self, packets: bytes) -> None:
        """BufferFull beyond twice the limit (what is kept for another server, and what waits) and ``SLACK``."""
        if len(self._packets) + len(packets) > self._most:
            raise BufferFull(f"{len(self._packets) + len(packets)} bytes")
        self._packets += packets

    def store_server(self, server_data: ServerData, *, needs_packets: bool = True) -> None:
        """``needs_packets=False``: the server may speak first, so it is connected before the client has sent."""
        self.server_data = server_data
        self.needs_packets = needs_packets

    @property
    def waiting(self) -> int:
        """Bytes that no server has had."""
        return len(self._packets) - self._taken

    @property
    def present(self) -> bool:
        """Whether the packets and the server data are there: a server connection may be initiated."""
        return self.server_data is not None and (self.waiting > 0 or not self.needs_packets)

    @property
    def full(self) -> bool:
        """No more is read from the client while this holds."""
        return self.waiting >= self.limit

    @property
    def repeatable(self) -> bool:
        """Whether all that was taken since the last ``commit`` is still here."""
        return self._kept

    def take(self) -> bytes:
        """What is to be sent to the server now."""
        packets = self.peek()
        self._taken = len(self._packets)
        if not self._kept or self._taken > self.limit:
            self.commit()
            self._kept = False
        return packets

    def peek(self) -> bytes:
        """What the next ``take`` gives."""
        return bytes(self._packets[self._taken :])

    def rewind(self) -> bool:
        """Take back what was taken, for another server; False when it is no longer all here."""
        if self._kept:
            self._taken = 0
        return self._kept

    def commit(self) -> None:
        """What was taken need not be repeated: the server has begun to answer, or another request begins."""
        del self._packets[: self._taken]
        self._taken = 0
        self._kept = True

    def clear(self) -> None:
        """Forget packets that no server is to have."""
        self._packets.clear()
        self._taken = 0
        self._kept = True
