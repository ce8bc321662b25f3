"""``ApplicationProxy``: the base class of all proxies, built in or plugged in. docs/proxies.md writes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gateway.proxy.buffer import ClientTransmitBuffer
from gateway.proxy.events import (
    Abort,
    ClientClosed,
    ClientConnection,
    ClientPackets,
    EndClient,
    EndServer,
    Refuse,
    Request,
    SendClient,
    ServerClosed,
    ServerEstablished,
    ServerFailed,
    ServerPackets,
    TimedOut,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gateway.proxy.events import ClientData, Command, Event, ServerData
    from topology.model import Target
    from topology.proxy import ProxySettings

    Choose = Callable[[Request, Collection[Target], Sequence[Target] | None], ServerData | None]
    """Request, servers tried already, servers to choose among (None: as the rules say)."""


class ApplicationProxy:
    """Receives the events of one client connection, one after the other, and answers each with commands.

    Whatever an event method raises, and one that takes longer than ``select_timeout``, resets the client's connection
    and is counted. Methods may await, on trio alone; they must not block the thread.
    """

    def __init__(self, settings: ProxySettings, targets: Sequence[Target], choose: Choose) -> None:
        self.settings = settings
        self.targets = targets
        self.buffer = ClientTransmitBuffer(settings.buffer)
        self.pending = True
        """Whether ``select_timeout`` runs: the client has begun something that no server could be selected for yet."""
        self.draining = False
        """Whether the node was told to stop: a connection ends with the request that is under way."""
        self.tried: list[Target] = []
        """Servers that failed since the last one that did not."""
        self._choose = choose

    @property
    def client_data(self) -> ClientData:
        assert self.buffer.client_data is not None
        return self.buffer.client_data

    async def select(self, request: Request) -> ServerData | None:
        """The server for a request, or None for a refusal. To be overridden by who knows better."""
        return self.choose(request)

    def choose(self, request: Request, among: Sequence[str] | None = None) -> ServerData | None:
        """By the server selection policy; with ``among``, of the targets at these addresses."""
        servers = None
        if among is not None:
            servers = [each for each in self.targets if str(each.address) in among]
        return self._choose(request, self.tried, servers)

    @property
    def paused(self) -> bool:
        """Whether nothing is to be read from the client now: TCP closes its window."""
        return self.buffer.full

    @property
    def between_requests(self) -> bool:
        """Whether nothing is under way, so that the connection may end without loss."""
        return False

    @property
    def expects_answer(self) -> bool:
        """Whether a server that got everything owes an answer within ``answer_timeout``."""
        return False

    @property
    def opaque(self) -> bool:
        """Whether the proxy needs to see nothing more of the connection, with the server that it has now: it may go on
        in the data plane, and then this proxy hears of it no more."""
        return False

    async def receive(self, event: Event) -> Sequence[Command]:
        match event:
            case ClientConnection(client_data):
                self.buffer.store_client(client_data)
                return await self.client_connection(client_data)
            case ClientPackets(data):
                return await self.client_packets(data)
            case ClientClosed():
                return await self.client_closed()
            case ServerEstablished(server_data):
                return await self.server_established(server_data)
            case ServerPackets(data):
                return await self.server_packets(data)
            case ServerClosed():
                return await self.server_closed()
            case ServerFailed(server_data, reason):
                return await self.server_failed(server_data, reason)
            case TimedOut():
                return await self.timed_out()
            case Abort(reason):
                return await self.abort(reason)
            case _:
                assert_never(event)

    async def client_connection(self, client_data: ClientData) -> Sequence[Command]:
        return ()

    async def client_packets(self, data: bytes) -> Sequence[Command]:
        self.buffer.store_packets(data)
        return ()

    async def client_closed(self) -> Sequence[Command]:
        return (EndServer(),)

    async def server_established(self, server_data: ServerData) -> Sequence[Command]:
        return ()

    async def server_packets(self, data: bytes) -> Sequence[Command]:
        return (SendClient(data),)

    async def server_closed(self) -> Sequence[Command]:
        return (EndClient(),)

    async def server_failed(self, server_data: ServerData, reason: str) -> Sequence[Command]:
        return (Refuse(f"server_{reason}"),)

    async def timed_out(self) -> Sequence[Command]:
        return (Refuse("select_timeout"),)

    async def abort(self, reason: str) -> Sequence[Command]:
        return ()

    async def another(self, failed: ServerData, request: Request) -> ServerData | None:
        """The next server after one that failed; None when there is none, or nothing that can be sent again."""
        self.tried.append(failed.target)
        if len(self.tried) > self.settings.retries or not self.buffer.rewind():
            return None
        return await self.select(request)
