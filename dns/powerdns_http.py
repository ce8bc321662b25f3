"""PowerDNS's remote backend over HTTP: its requests become calls of ``dns.powerdns``. Both forms that it has are
understood: method and parameters in the path (the default), and JSON in the body (``post=1,post_json=1``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import h11
import trio

from dns.powerdns import call

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from dns.answer import Responder

MAX_BODY = 65536
IDLE_LIMIT = 300.0
"""Seconds from one request to the next: a name server keeps its connections for as long as it lives."""
READ_SIZE = 16_384
MAX_CONNECTIONS = 128
"""PowerDNS has one for each of its threads; one more is closed at once."""
PATHS = {
    "lookup": ("qname", "qtype"),
    "list": ("domain_id", "zonename"),
    "getAllDomains": (),
    "getDomainInfo": ("name",),
    "getDomainMetadata": ("name", "kind"),
    "getAllDomainMetadata": ("name",),
}
"""Method -> what follows it in the path."""
_HEADERS = {
    b"x-remotebackend-remote": "remote",
    b"x-remotebackend-real-remote": "real-remote",
    b"x-remotebackend-local": "local",
    b"x-remotebackend-zone-id": "zone-id",
}


class Refused(Exception):
    """A request that is no call; the message says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Call(NamedTuple):
    method: str
    parameters: Mapping[str, Any]


async def serve_powerdns(listener: socket.socket, responder: Responder) -> None:
    """Serves PowerDNS on a listening socket until cancelled, and closes it. Survives every request."""
    known: set[trio.SocketStream] = set()

    async def converse(stream: trio.SocketStream) -> None:
        known.add(stream)
        try:
            if len(known) <= MAX_CONNECTIONS:
                await _converse(stream, responder)
        except (trio.BrokenResourceError, OSError):
            pass
        finally:
            known.remove(stream)
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(converse, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])


async def _converse(stream: trio.SocketStream, responder: Responder) -> None:
    """Requests of one connection, one after the other; returns when it is over."""
    connection, request, body = h11.Connection(h11.SERVER), None, b""
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await stream.send_all(_packed(connection, error.error_status_hint, _problem("no HTTP request"), True))
            return
        match event:
            case h11.NEED_DATA:
                received = b""
                with trio.move_on_after(IDLE_LIMIT):
                    received = await stream.receive_some(READ_SIZE)
                connection.receive_data(received)
            case h11.Request():
                request, body = event, b""
            case h11.Data():
                body += event.data
                if len(body) > MAX_BODY:
                    problem = _problem(f"a call has at most {MAX_BODY} bytes")
                    await stream.send_all(_packed(connection, 413, problem, True))
                    return
            case h11.EndOfMessage():
                assert request is not None
                await stream.send_all(_packed(connection, *answer(responder, request, body)))
                if connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()
            case _:
                return


def answer(responder: Responder, request: h11.Request, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and document of one request."""
    try:
        asked = read(request, body)
    except Refused as refused:
        return refused.status, _problem(str(refused))
    return 200, {"result": call(responder, asked.method, asked.parameters)}


def read(request: h11.Request, body: bytes) -> Call:
    """What a request asks for. Raises ``Refused``."""
    if request.method == b"GET":
        path = request.target.partition(b"?")[0].decode("ascii", "replace")
        method, *rest = (unquote(part) for part in path.removeprefix("/").split("/"))
        parameters: dict[str, Any] = dict(zip(PATHS.get(method, ()), rest, strict=False))
        for name, value in request.headers:
            if name in _HEADERS:
                parameters[_HEADERS[name]] = value.decode("ascii", "replace")
        return Call(method, parameters)
    if request.method != b"POST":
        raise Refused(405, "a call is a GET or a POST")
    try:
        asked: Any = json.loads(body)
        method, parameters = asked["method"], asked.get("parameters", {})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Refused(400, "no JSON object with a method: set post_json=1 or leave post out") from None
    if not isinstance(method, str) or not isinstance(parameters, dict):
        raise Refused(400, "method must be text and parameters an object")
    return Call(method, parameters)


def _problem(reason: str) -> dict[str, Any]:
    return {"result": False, "error": reason}


def _packed(connection: h11.Connection, status: int, document: dict[str, Any], last: bool = False) -> bytes:
    """The whole response; ``last`` ends the connection."""
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    if last:
        headers.append(("connection", "close"))
    events = (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
    return b"".join(connection.send(event) or b"" for event in events)
