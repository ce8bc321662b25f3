"""The status endpoint of a node: a page for people, JSON for programs, metrics for Prometheus, probes for supervisors.

Read only. Nothing here changes the node, so there is no login; who may connect is a matter of the firewall. A web
page elsewhere must not read it through a visitor's browser, hence no CORS and the check of the Host header.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from dataclasses import asdict
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from braid.role import StartError
from braid.status.assets import load_assets
from braid.status.documents import DEFAULT_POINTS, RANGES, history_document, overlay_document, paths_document
from braid.status.events import Feed, Stream
from braid.status.history import SECONDS
from braid.status.metrics import CONTENT_TYPE, exposition, registry

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from braid.status.history import Subject
    from braid.status.node_view import NodeView
    from braid.status.snapshot import Check
    from topology.model import SocketAddress

DEFAULT_FLOWS = 100
MAX_FLOWS = 10_000
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
ENDPOINTS = (
    "/", "/status", "/paths", "/flows", "/overlay", "/history", "/events", "/dns", "/metrics", "/livez", "/readyz",
)  # fmt: skip
STALL_S = 10.0
"""Seconds after which a client that does not take what it asked for is dropped."""
SEND_BUFFER = 256 << 10
"""Bytes of kernel memory for what a client has not taken yet."""


class StatusBindError(StartError):
    """The status address cannot be listened on; the message names the topology key to change."""


async def serve(
    view: NodeView,
    bind: SocketAddress,
    *,
    stall_s: float = STALL_S,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the status endpoint until cancelled.

    Started once the socket listens; StatusBindError before that if it cannot. Closes the socket and open connections
    on the way out. Survives every request: a failing handler answers 500 and is logged by hypercorn.
    """
    listener = _listen(bind, stall_s)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = _quiet_log()
    config.include_server_header = False
    config.graceful_timeout = 0.5
    async with trio.open_nursery() as nursery:
        await nursery.start(hypercorn_serve, make_app(view), config)
        task_status.started()


def make_app(view: NodeView) -> ASGIApp:
    """The ASGI application; needs nothing but ``view``, so tests call it without a socket."""
    metrics = registry(view.snapshot)
    assets = load_assets()
    feed = Feed(lambda: _overlay(view))

    async def show_page(request: Request) -> Response:
        return show_asset(request, "page.html")

    async def show_part(request: Request) -> Response:
        return show_asset(request, request.path_params["name"])

    def show_asset(request: Request, name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "no such file")
        asset = assets[name]
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=asset.headers())
        return Response(asset.content, headers=asset.headers())

    async def show_status(_request: Request) -> Response:
        return _json(asdict(view.snapshot()))

    async def show_paths(_request: Request) -> Response:
        return _json(paths_document(view))

    async def show_flows(request: Request) -> Response:
        limit = _whole(request.query_params.get("limit"), "limit", DEFAULT_FLOWS, MAX_FLOWS)
        return _json({"name": view.snapshot().name, "flows": [asdict(flow) for flow in view.flows(limit)]})

    async def show_overlay(_request: Request) -> Response:
        return _json(_overlay(view))

    async def show_history(request: Request) -> Response:
        asked = request.query_params
        history, span = view.recorder.history, asked.get("range", "10m")
        if span not in RANGES:
            raise HTTPException(400, f"range must be one of {', '.join(RANGES)}")
        points = _whole(asked.get("points"), "points", DEFAULT_POINTS, SECONDS)
        one: Subject = (asked.get("node", ""), asked.get("kind", ""), asked.get("name", ""))
        subjects = (one,) if any(one) else history.subjects()
        return _json(history_document(history, trio.current_time(), span, subjects, points))

    async def show_events(_request: Request) -> Response | Stream:
        if feed.full():
            return _json({"error": "too many clients: ask /overlay again and again instead"}, 503)
        return Stream(feed, _HEADERS)

    async def show_dns(request: Request) -> Response:
        asked = request.query_params
        try:
            told = view.steering(asked.get("name"), asked.get("client"))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        if told is None:
            raise HTTPException(404, "this node answers no DNS")
        return _json(told)

    async def show_metrics(_request: Request) -> Response:
        return Response(exposition(metrics), headers={"content-type": CONTENT_TYPE})

    async def show_alive(_request: Request) -> Response:
        return _probe((view.alive(),))

    async def show_ready(_request: Request) -> Response:
        return _probe(view.ready())

    handlers = (
        show_page, show_status, show_paths, show_flows, show_overlay, show_history, show_events, show_dns,
        show_metrics, show_alive, show_ready,
    )  # fmt: skip
    routes = [Route(path, handler, methods=["GET"]) for path, handler in zip(ENDPOINTS, handlers, strict=True)]
    app = Starlette(
        routes=[*routes, Route("/page/{name}", show_part, methods=["GET"])],
        exception_handlers={HTTPException: _refuse, 500: _refuse},
    )
    return _HostGate(app, view.snapshot().name)


def _overlay(view: NodeView) -> dict[str, Any]:
    seen, chosen = view.overlay()
    return overlay_document(seen, chosen)


class _HostGate:
    """Answers 421 when the Host header is a name that is not ours: the mark of DNS rebinding.

    An IP literal, ``localhost`` and the node's name pass. So does a request without Host (HTTP/1.0 health probes):
    no browser sends one.
    """

    def __init__(self, app: ASGIApp, node: str) -> None:
        self._app = app
        self._names = {"localhost", node.lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
            if not all(host_allowed(host, self._names) for host in hosts):
                answer = _json({"error": "unknown Host: use the node's name, its address or localhost"}, 421)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_allowed(host: str, names: set[str]) -> bool:
    """Whether a Host header is one of ``names`` (lower case) or an IP literal, with or without a port."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    if match["six"]:
        return _is_address(match["six"], 6)
    return match["name"].lower().removesuffix(".") in names or _is_address(match["name"], 4)


def _is_address(text: str, version: int) -> bool:
    try:
        return ip_address(text).version == version
    except ValueError:
        return False


def _json(body: dict[str, Any], code: int = 200) -> Response:
    content = json.dumps(body, allow_nan=False, separators=(",", ":"))
    return Response(content, code, {"content-type": "application/json", **_HEADERS})


_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def _probe(checks: tuple[Check, ...]) -> Response:
    failing = [check.name for check in checks if not check.ok]
    return _json(
        {"ok": not failing, "failing": failing, "checks": [asdict(check) for check in checks]}, 503 if failing else 200
    )


def _whole(text: str | None, name: str, default: int, most: int) -> int:
    """A number of a query, from 1 to ``most``."""
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= most):
        raise HTTPException(400, f"{name} must be a whole number from 1 to {most}")
    return int(text)


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _json({"error": "internal error, see the node's log"}, 500)
    body: dict[str, Any] = {"error": error.detail}
    if error.status_code == 404:
        body["endpoints"] = ENDPOINTS
    answer = _json(body, error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def _listen(bind: SocketAddress, stall_s: float) -> socket.socket:
    """Accepted sockets inherit its options."""
    listener = socket.socket(socket.AF_INET6 if bind.host.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(stall_s * 1000))
        listener.bind((str(bind.host), bind.port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise StatusBindError(
            f"cannot listen on {bind} for the status endpoint ({error.strerror}): "
            "choose another address or port with the node's `status:` key in the topology file"
        ) from error
    return listener


def _quiet_log() -> logging.Logger:
    log = logging.getLogger("braid.status")
    log.setLevel(logging.WARNING)
    return log
