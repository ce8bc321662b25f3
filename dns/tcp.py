"""DNS over TCP (RFC 7766): two-byte framing, pipelining, an idle limit and a limit on connections."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic, monotonic_ns, time
from typing import TYPE_CHECKING

import trio

from dns.gate import MAX_QUERY
from dns.sockets import packed_address

if TYPE_CHECKING:
    import socket

    from dns.answer import Responder

IDLE_LIMIT = 10.0
"""Seconds from one complete query to the next; slow senders and slow readers get no more than that either."""
MAX_CONNECTIONS = 128
TURN_ANSWERS = 16
READ_SIZE = 16384
_SHORTEST = 12


@dataclass(slots=True, eq=False)
class _Connection:
    scope: trio.CancelScope
    end: str = "idle"
    """Why it is closed, as it is counted."""


class TcpService:
    """One listener per socket, one limit for all of them together."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._counters = responder.counters
        self._open: OrderedDict[_Connection, None] = OrderedDict()
        """Least recently useful first."""

    async def serve(self, bound: socket.socket) -> None:
        """Accepts on a listening socket until cancelled; closes it and its connections. Survives every client."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        await trio.serve_listeners(self._handle, [listener])

    async def _handle(self, stream: trio.SocketStream) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            idlest, _ = self._open.popitem(last=False)
            idlest.end = "crowded"
            idlest.scope.cancel()
        with trio.CancelScope(deadline=trio.current_time() + IDLE_LIMIT) as scope:
            connection = _Connection(scope)
            self._open[connection] = None
            self._counters.connections += 1
            try:
                connection.end = await self._converse(stream, connection)
            except (trio.BrokenResourceError, OSError):
                connection.end = "broken"
            finally:
                self._counters.connections -= 1
                self._counters.closed[connection.end] += 1
                self._open.pop(connection, None)
                # aclose in a cancelled scope still closes the socket.
                await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream, connection: _Connection) -> str:
        """Returns why it ended."""
        client = packed_address(stream.socket.getpeername()[0])
        # A handshake with one of our own addresses at the other end cannot have come from another host.
        local = client == packed_address(stream.socket.getsockname()[0])
        received = bytearray()
        while chunk := await stream.receive_some(READ_SIZE):
            received += chunk
            while True:
                answers, sound = self.turn(received, client, local)
                if answers:
                    await stream.send_all(answers)
                    connection.scope.deadline = trio.current_time() + IDLE_LIMIT
                    if connection in self._open:
                        self._open.move_to_end(connection)
                if not sound:
                    return "unsound"
                if not answers:
                    break
        return "client"

    def turn(self, received: bytearray, client: bytes, local: bool) -> tuple[bytes, bool]:
        """Takes up to ``TURN_ANSWERS`` complete messages off ``received``; False ends the connection after sending."""
        begin, before = monotonic_ns(), len(received)
        answers, sound = self._answers(received, client, local)
        sent = b"".join(len(answer).to_bytes(2, "big") + answer for answer in answers)
        took = monotonic_ns() - begin
        self._counters.count_batch("tcp", before - len(received), [len(answer) for answer in answers], took)
        return sent, sound

    def _answers(self, received: bytearray, client: bytes, local: bool) -> tuple[list[bytes], bool]:
        answers: list[bytes] = []
        now, unix = monotonic(), int(time())
        while len(answers) < TURN_ANSWERS and len(received) >= 2:
            length = int.from_bytes(received[:2], "big")
            if not _SHORTEST <= length <= MAX_QUERY:
                return answers, False
            if len(received) < 2 + length:
                break
            message = bytes(received[2 : 2 + length])
            answer = self._responder.respond(message, client, "tcp", now, unix, local=local)
            del received[: 2 + length]
            if answer is None:
                return answers, False
            answers.append(answer)
        return answers, True
