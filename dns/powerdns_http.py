"""PowerDNS's remote backend over HTTP: its requests become calls of ``dns.powerdns``. Both forms that it has are
understood: method and parameters in the path (the default), and JSON in the body (``post=1,post_json=1``)."""

from __future__ import annotations

import json
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from dns.powerdns import call

if TYPE_CHECKING:
    import socket

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from dns.answer import Responder

MAX_BODY = 65536
KEEP_ALIVE = 300.0
"""Seconds that a connection may be idle."""
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
    "remote": "x-remotebackend-remote",
    "real-remote": "x-remotebackend-real-remote",
    "local": "x-remotebackend-local",
    "zone-id": "x-remotebackend-zone-id",
}


async def serve_powerdns(listener: socket.socket, responder: Responder) -> None:
    """Serves PowerDNS on a listening socket until cancelled, and closes it. Survives every request."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("braid.powerdns")
    config.include_server_header = False
    config.graceful_timeout = 0.5
    # A name server keeps its connection for as long as it lives.
    config.keep_alive_timeout = KEEP_ALIVE
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn_serve, make_app(responder), config)


def make_app(responder: Responder) -> ASGIApp:
    """The ASGI application; tests call it without a socket."""

    async def get(request: Request) -> Response:
        method, *rest = request.path_params["rest"].split("/")
        parameters = dict(zip(PATHS.get(method, ()), rest, strict=False))
        parameters |= {key: request.headers[name] for key, name in _HEADERS.items() if name in request.headers}
        return _result(responder, method, parameters)

    async def post(request: Request) -> Response:
        if int(request.headers.get("content-length", "0")) > MAX_BODY:
            raise HTTPException(413, f"a call has at most {MAX_BODY} bytes")
        body = b""
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY:
                    raise HTTPException(413, f"a call has at most {MAX_BODY} bytes")
        try:
            asked: Any = json.loads(body)
            method, parameters = asked["method"], asked.get("parameters", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise HTTPException(400, "no JSON object with a method: set post_json=1 or leave post out") from None
        if not isinstance(method, str) or not isinstance(parameters, dict):
            raise HTTPException(400, "method must be text and parameters an object")
        return _result(responder, method, parameters)

    return Starlette(
        routes=[Route("/{rest:path}", get, methods=["GET"]), Route("/{rest:path}", post, methods=["POST"])],
        exception_handlers={HTTPException: _refuse},
    )


def _result(responder: Responder, method: str, parameters: dict[str, Any]) -> Response:
    return JSONResponse({"result": call(responder, method, parameters)})


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"result": False, "error": error.detail}, error.status_code)
