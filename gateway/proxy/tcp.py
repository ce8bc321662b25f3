"""TCP proxy: bytes pass as they are; the server is selected when the client connects. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.application import ApplicationProxy
from gateway.proxy.events import Refuse, Request, Served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.events import ClientData, Command, ServerData


class TcpProxy(ApplicationProxy):
    async def client_connection(self, client_data: ClientData) -> Sequence[Command]:
        """The server may be the one to speak first, so it is connected without waiting for packets."""
        return await self.begin(Request(client_data), needs_packets=False)

    async def begin(self, request: Request, *, needs_packets: bool) -> Sequence[Command]:
        self.request = request
        chosen = await self.select(request)
        self.pending = False
        if chosen is None:
            return (Refuse("no_server"),)
        self.buffer.store_server(chosen, needs_packets=needs_packets)
        return ()

    async def server_established(self, server_data: ServerData) -> Sequence[Command]:
        return (Served(self.request, server_data, 0, self.request.sni, 0),)

    @property
    def opaque(self) -> bool:
        """Until the server has sent something another one may have to take its place, unless the client has sent more
        than is kept for that."""
        return self.answered or not self.buffer.repeatable

    async def server_packets(self, data: bytes) -> Sequence[Command]:
        self.buffer.commit()
        self.answered = True
        return await super().server_packets(data)

    async def server_failed(self, server_data: ServerData, reason: str) -> Sequence[Command]:
        """A connection that has carried an answer cannot go on at another server."""
        if self.answered:
            return (Refuse(f"server_{reason}"),)
        chosen = await self.another(server_data, self.request)
        if chosen is None:
            return (Refuse(f"server_{reason}"),)
        self.buffer.store_server(chosen, needs_packets=self.buffer.needs_packets)
        return ()

    answered = False
