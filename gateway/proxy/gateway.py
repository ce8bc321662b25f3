"""``ServiceGateway``: one client connection, between its two sides and an application proxy. Pure.

It emits what happens to the proxy. After each answer it *determines the presence* of packets and server data in the
client transmit buffer; only when both are there is the server connection initiated, and on the server establishment
event the stored packets are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from gateway.proxy.events import (
    Abort,
    ClientClosed,
    CloseClient,
    CloseServer,
    EndClient,
    EndServer,
    Refuse,
    SendClient,
    Served,
    ServerEstablished,
    ServerFailed,
    ServerPackets,
    TimedOut,
)

if TYPE_CHECKING:
    from gateway.proxy.application import ApplicationProxy
    from gateway.proxy.events import Command, Event, ServerData


class Phase(Enum):
    WAITING = auto()
    """For packets and server data."""
    CONNECTING = auto()
    ESTABLISHED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Connect:
    server_data: ServerData


@dataclass(frozen=True, slots=True)
class SendServer:
    data: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """Of the client's connection."""


@dataclass(frozen=True, slots=True)
class Blame:
    """The server's silence counts against it."""

    server_data: ServerData


@dataclass(frozen=True, slots=True)
class Count:
    reason: str


Action = (
    Connect
    | SendServer
    | EndServer
    | CloseServer
    | SendClient
    | EndClient
    | CloseClient
    | Reset
    | Blame
    | Count
    | Served
)


class ServiceGateway:
    def __init__(self, proxy: ApplicationProxy, now: float) -> None:
        self.proxy = proxy
        self.phase = Phase.WAITING
        self.server: ServerData | None = None
        """To which a connection is being made or is there."""
        self._active = now
        self._pending_since: float | None = None
        self._asked_at: float | None = None
        self._end_server = self._server_ended = False
        self._client_closed = self._client_ended = False

    @property
    def idle_since(self) -> float:
        return self._active

    @property
    def opaque(self) -> bool:
        """Whether the connection may go on where nobody sees its bytes: the proxy needs none, nothing is kept here, and
        no side has ended."""
        ended = self._client_closed or self._client_ended or self._end_server or self._server_ended
        waiting = self.proxy.buffer.waiting
        return self.phase is Phase.ESTABLISHED and self.proxy.opaque and not (ended or waiting or self.proxy.draining)

    def ended(self) -> bool:
        return self.phase is Phase.ENDED

    async def receive(self, event: Event, now: float) -> list[Action]:
        """What the event leads to. Raises what the proxy raises."""
        if self.ended():
            return []
        self._note(event, now)
        actions: list[Action] = []
        for command in await self.proxy.receive(event):
            if not self.ended():
                actions += self._carry_out(command)
        if isinstance(event, Abort):
            self.phase = Phase.ENDED
        if not self.ended():
            actions += self._determine_presence(now)
            if self._client_closed and self._client_ended:
                actions += self._carry_out(CloseClient())
        self._watch_pending(now)
        return actions

    def next_timeout(self) -> float | None:
        """When ``handle_timeout`` is due."""
        if self.ended():
            return None
        return min(due for due in (self._select_due(), self._answer_due(), self._idle_due()) if due is not None)

    async def handle_timeout(self, now: float) -> list[Action]:
        if self.ended():
            return []
        if (due := self._select_due()) is not None and now >= due:
            self._pending_since = None
            return await self.receive(TimedOut(), now)
        if (due := self._answer_due()) is not None and now >= due and self.server is not None:
            return [
                Blame(self.server),
                CloseServer(),
                *await self.receive(ServerFailed(self.server, "answer_timeout"), now),
            ]
        if now >= self._idle_due():
            return [Count("idle_timeout"), *self._carry_out(CloseClient())]
        return []

    def _note(self, event: Event, now: float) -> None:
        self._active = now
        match event:
            case ServerEstablished():
                self.phase = Phase.ESTABLISHED
            case ServerPackets():
                self._asked_at = None
            case ServerFailed():
                self.phase, self.server, self._asked_at = Phase.WAITING, None, None
                self._server_ended = False
                self.proxy.buffer.server_data = None
            case ClientClosed():
                self._client_closed = True
            case _:
                pass

    def _carry_out(self, command: Command) -> list[Action]:
        match command:
            case EndServer():
                self._end_server = True
                return []
            case CloseServer():
                if self.proxy.buffer.server_data is self.server:
                    self.proxy.buffer.server_data = None
                self.phase, self.server, self._asked_at = Phase.WAITING, None, None
                return [command]
            case EndClient():
                self._client_ended = True
                return [command]
            case CloseClient():
                self.phase = Phase.ENDED
                return [command]
            case Refuse(reason, answer, served):
                self.phase = Phase.ENDED
                ending: list[Action] = [SendClient(answer), CloseClient()] if answer else [Reset()]
                return [Count(reason), *((served,) if served else ()), *ending]
            case SendClient() | Served():
                return [command]

    def _determine_presence(self, now: float) -> list[Action]:
        buffer, actions = self.proxy.buffer, list[Action]()
        selected = buffer.server_data
        if self.server is not None and selected is not None and selected is not self.server:
            if selected.address == self.server.address:
                self.server = selected
            else:
                actions.append(CloseServer())
                self.phase, self.server = Phase.WAITING, None
        if self.phase is Phase.WAITING and selected is not None and buffer.present:
            self.phase, self.server = Phase.CONNECTING, selected
            self._server_ended = False
            actions.append(Connect(selected))
        if self.phase is Phase.ESTABLISHED and not self._server_ended:
            if buffer.waiting:
                actions.append(SendServer(buffer.take()))
                self._asked_at = now
            if self._end_server:
                self._server_ended = True
                actions.append(EndServer())
        return actions

    def _watch_pending(self, now: float) -> None:
        if not self.proxy.pending:
            self._pending_since = None
        elif self._pending_since is None:
            self._pending_since = now

    def _select_due(self) -> float | None:
        return None if self._pending_since is None else self._pending_since + self.proxy.settings.select_timeout

    def _answer_due(self) -> float | None:
        if self._asked_at is None or not self.proxy.expects_answer:
            return None
        return self._asked_at + self.proxy.settings.answer_timeout

    def _idle_due(self) -> float:
        return self._active + self.proxy.settings.idle_timeout
