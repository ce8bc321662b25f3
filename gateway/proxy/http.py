"""HTTP/1.1 proxy: a server for each request; answers in the order of the requests. Pure; the syntax is h11's.

Both sides' messages are parsed and written anew, so what two parsers could read differently does not get through.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h11

from braid import http
from gateway.proxy import message
from gateway.proxy.application import ApplicationProxy
from gateway.proxy.events import (
    CloseClient,
    CloseServer,
    EndClient,
    EndServer,
    Refuse,
    Request,
    SendClient,
    Served,
)
from topology.proxy import ClientAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.proxy.application import Choose
    from gateway.proxy.events import ClientData, Command, ServerData
    from topology.model import Target
    from topology.proxy import ProxySettings

MAX_HEAD = 65_536
"""Bytes of a request or answer before its body."""
_READ_AHEAD = 65_536
"""Bytes of pipelined requests taken from the client while an answer is under way."""


class HttpProxy(ApplicationProxy):
    def __init__(self, settings: ProxySettings, targets: Sequence[Target], choose: Choose) -> None:
        super().__init__(settings, targets, choose)
        self.pending = False
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._server: h11.Connection | None = None
        self._asked: h11.Request | None = None
        """The request that is being answered."""
        self._request: Request | None = None
        self._at: ServerData | None = None
        self._status = 0
        self._bytes = 0
        self._tunnel = False

    @property
    def paused(self) -> bool:
        return super().paused or len(self._client.trailing_data[0]) > _READ_AHEAD

    @property
    def expects_answer(self) -> bool:
        return self._asked is not None and self._status == 0 and self._client.their_state is not h11.SEND_BODY

    @property
    def between_requests(self) -> bool:
        return self._asked is None and not self._tunnel and not self.pending

    async def client_connection(self, client_data: ClientData) -> Sequence[Command]:
        return ()

    async def client_packets(self, data: bytes) -> Sequence[Command]:
        if self._tunnel:
            self.buffer.store_packets(data)
            return ()
        self._client.receive_data(data)
        return await self._read_client()

    async def client_closed(self) -> Sequence[Command]:
        if self._tunnel:
            return (EndServer(),)
        self._client.receive_data(b"")
        return await self._read_client()

    async def _read_client(self) -> list[Command]:
        commands: list[Command] = []
        while True:
            try:
                event = self._client.next_event()
            except h11.RemoteProtocolError as error:
                return [*commands, self._refuse("http_malformed", error.error_status_hint)]
            match event:
                case h11.Request():
                    commands += await self._begin(event)
                case h11.Data(data=data):
                    self._to_server(h11.Data(data=bytes(data)))
                case h11.EndOfMessage(headers=trailers):
                    self._to_server(h11.EndOfMessage(headers=trailers))
                case h11.ConnectionClosed():
                    return [*commands, CloseClient()]
                case _:
                    self.pending = self._asked is None and bool(self._client.trailing_data[0])
                    return commands
            if commands and isinstance(commands[-1], Refuse | CloseClient):
                return commands

    async def _begin(self, asked: h11.Request) -> list[Command]:
        self._asked, self._status, self._bytes, self.tried = asked, 0, 0, []
        self._request = request = message.as_request(asked, self.client_data)
        self.pending = True
        if reason := http.smuggled(asked):
            return [self._refuse(reason, 400)]
        if asked.method == b"CONNECT":
            return [self._refuse("http_connect", 501)]
        chosen = await self.select(request)
        self.pending = False
        if chosen is None:
            return [self._refuse("no_server", 503)]
        self.buffer.commit()
        return self._send_head(chosen)

    def _send_head(self, chosen: ServerData) -> list[Command]:
        """The request's head goes to the buffer, for the connection that is there or for a new one."""
        assert self._asked is not None
        commands: list[Command] = []
        if self._server is None or self._at is None or self._at.address != chosen.address:
            if self._server is not None:
                commands.append(CloseServer())
            self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._at = chosen
        self.buffer.store_server(chosen)
        asks = message.asks_for_another_protocol(self._asked)
        target, authority = http.split_target(self._asked)
        headers = [each for each in http.onward(self._asked.headers, upgrade=asks) if each[0] != b"host"]
        headers.insert(0, (b"host", authority))
        if self.settings.client_address is ClientAddress.FORWARDED:
            headers = http.forwarded(headers, self.client_data.client.host)
        self._to_server(h11.Request(method=self._asked.method, target=target, headers=headers))
        return commands

    def _to_server(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        if self._server is not None and self._server.our_state in (h11.IDLE, h11.SEND_BODY):
            self.buffer.store_packets(self._server.send(event) or b"")

    async def server_packets(self, data: bytes) -> Sequence[Command]:
        if self._tunnel:
            return (SendClient(data),)
        if self._server is None or self._asked is None:
            return self._drop_server()
        self._server.receive_data(data)
        return await self._read_server()

    async def server_closed(self) -> Sequence[Command]:
        if self._tunnel:
            return (EndClient(),)
        asked, at = self._asked, self._at
        if self._server is None or asked is None or at is None:
            return self._drop_server()
        self._server.receive_data(b"")
        commands = await self._read_server()
        if self._asked is not asked or any(isinstance(command, Refuse) for command in commands):
            return commands
        return [*commands, CloseServer(), *await self.server_failed(at, "closed")]

    async def _read_server(self) -> list[Command]:
        commands: list[Command] = []
        while self._server is not None:
            try:
                event = self._server.next_event()
            except h11.RemoteProtocolError:
                return [*commands, self._refuse("http_bad_answer", 502, self._at)]
            match event:
                case h11.InformationalResponse():
                    commands += self._inform(event)
                    if self._tunnel:
                        return commands
                case h11.Response():
                    commands.append(self._respond(event))
                case h11.Data(data=data):
                    self._bytes += len(data)
                    commands.append(self._to_client(h11.Data(data=bytes(data))))
                case h11.EndOfMessage(headers=trailers):
                    commands.append(self._to_client(h11.EndOfMessage(headers=trailers)))
                    return commands + await self._finish()
                case _:
                    return commands
        return commands

    def _inform(self, event: h11.InformationalResponse) -> list[Command]:
        assert self._asked is not None
        self.buffer.commit()
        if self._asked.http_version != b"1.1":
            return []
        switches = event.status_code == 101
        headers = http.onward(event.headers, upgrade=switches)
        commands: list[Command] = [
            self._to_client(h11.InformationalResponse(status_code=event.status_code, headers=headers))
        ]
        if switches and self._server is not None:
            self._tunnel, self._status = True, 101
            early, rest = self._client.trailing_data[0], self._server.trailing_data[0]
            self.buffer.store_packets(early)
            commands += [SendClient(rest)] if rest else []
            commands.append(self._served())
        return commands

    def _respond(self, event: h11.Response) -> Command:
        self.buffer.commit()
        self._status = event.status_code
        headers = http.onward(event.headers, upgrade=False)
        if self._at is not None and self._at.cookie:
            headers.append((b"set-cookie", self._at.cookie.encode("ascii")))
        if self.draining or self._client.their_state is h11.SEND_BODY:
            # The server has answered before it had the whole request; what is still under way has no reader.
            headers.append((b"connection", b"close"))
        return self._to_client(h11.Response(status_code=event.status_code, reason=event.reason, headers=headers))

    def _to_client(self, event: h11.Event) -> SendClient:
        return SendClient(self._client.send(event) or b"")

    async def _finish(self) -> list[Command]:
        """An answer is through: on to the next request, which may be here already."""
        commands: list[Command] = [self._served()]
        self._asked = None
        if self._server is not None and self._server.our_state is self._server.their_state is h11.DONE:
            self._server.start_next_cycle()
        else:
            commands += self._drop_server()
        if not self.draining and self._client.our_state is self._client.their_state is h11.DONE:
            self._client.start_next_cycle()
            return commands + await self._read_client()
        return [*commands, CloseClient()]

    def _drop_server(self) -> list[Command]:
        self._server = self._at = None
        return [CloseServer()]

    def _served(self) -> Served:
        assert self._request is not None
        assert self._asked is not None
        target = self._asked.target.decode("latin-1")
        return Served(self._request, self._at, self._status, target, self._bytes)

    async def server_failed(self, server_data: ServerData, reason: str) -> Sequence[Command]:
        """Another server where the request can be sent again: before the first byte of an answer, and where doing it
        twice does no harm or it was not done at all."""
        self._server = self._at = None
        if self._tunnel:
            return (Refuse(f"server_{reason}"),)
        if self._asked is None or self._request is None:
            return ()
        if reason == "answer_timeout":
            return (self._refuse("server_answer_timeout", 504, server_data),)
        unsent = reason.startswith("connect")
        if self._status == 0 and (unsent or self._asked.method in message.IDEMPOTENT):
            whole = self._client.their_state is not h11.SEND_BODY or unsent
            chosen = await self.another(server_data, self._request) if whole else None
            if chosen is not None:
                return self._again(chosen)
        return (self._refuse(f"server_{reason}", 502, server_data),)

    def _again(self, chosen: ServerData) -> list[Command]:
        """The bytes are in the buffer still; the new connection's parser only has to know what they were."""
        self._at = chosen
        self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.buffer.store_server(chosen)
        replay = h11.Connection(h11.SERVER)
        replay.receive_data(self.buffer.peek())
        while (event := replay.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            self._server.send(event)  # type: ignore[arg-type]
        return []

    async def timed_out(self) -> Sequence[Command]:
        return (self._refuse("select_timeout", 408),)

    def _refuse(self, reason: str, status: int, at: ServerData | None = None) -> Refuse:
        """With an answer where none has begun, else a reset: a half answer must not look whole."""
        begun = self._client.our_state not in (h11.IDLE, h11.SEND_RESPONSE, h11.ERROR) or self._status
        status = status if status in message.STATUSES else 400
        served = None
        if self._asked is not None and self._request is not None:
            told = self._status if begun else status
            served = replace(self._served(), server_data=at, status=told, refused=reason)
        return Refuse(reason, b"" if begun else message.answer(status), served)
