"""The operator's socket: what is stored, and what should be. HTTP on a Unix socket in the content directory.

It has no login: who may open the file, which is root and the node's own user, may use it.

| request | does |
|---|---|
| ``GET /answers?prefix=URL`` | lists what is stored |
| ``DELETE /answers?prefix=URL`` or ``?url=URL`` | drops it |
| ``POST /answers?url=URL`` | has it fetched from the origin, whatever is stored |
| ``PUT /answers?url=URL`` | stores the body of the request, with those of its headers that begin with ``x-store-`` |
"""

from __future__ import annotations

import logging
import os
import socket
import zlib
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from braid import log as logs
from braid.beat import beat
from braid.role import StartError
from content.connection import MAX_HEAD
from content.entry import Entry
from content.freshness import Times, current_age, lifetime
from content.growing import Broken, write_at
from content.message import Head, Request
from content.origin import CHUNK, OriginError
from topology.content import OPERATOR_SOCKET

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request as WebRequest

    from content.cache import Cache
    from content.sites import Find, Site

log = logs.get(__name__)

LOOK = 1.0
"""Seconds between two looks at whether the socket is there."""
STORED = "x-store-"
"""Headers of a PUT that become headers of the answer."""
MOST_LISTED = 10_000
MOST_SHOWN = 200
"""Characters of a URL, in what is said of it."""


async def serve_operator(
    directory: Path,
    cache: Cache,
    find: Find,
    wall: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, by a clock of Unix seconds; started when the socket is there, which goes with it. It is
    made anew where somebody has emptied the directory. StartError when it cannot be in the beginning."""
    path, app = directory / OPERATOR_SOCKET, _Operator(cache, find, wall).app()
    try:
        listener = _listen(path)
    except OSError as error:
        raise StartError(f"{path}: {error.strerror or error}; correct content.directory in the topology") from error
    try:
        while True:
            async with trio.open_nursery() as nursery:
                await nursery.start(hypercorn_serve, app, _config(listener))
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                listener = await _listen_again(path)
                nursery.cancel_scope.cancel()
    finally:
        path.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


async def _listen_again(path: Path) -> socket.socket:
    """When it is not there any more."""
    while True:
        await beat(LOOK)
        listener = _listen_if_gone(path)
        if listener is not None:
            return listener


def _listen_if_gone(path: Path) -> socket.socket | None:
    try:
        return None if path.exists() else _listen(path)
    except OSError as error:
        log.warning("socket for the operator cannot be made", problem=error.strerror or str(error))
        return None


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("braid.content")
    config.include_server_header = False
    config.graceful_timeout = 0.5
    # A URL is written in the request's own, where each of its characters may take three.
    config.h11_max_incomplete_size = 8 * MAX_HEAD
    return config


class _Operator:
    def __init__(self, cache: Cache, find: Find, wall: Callable[[], float]) -> None:
        self._cache = cache
        self._find = find
        self._wall = wall

    def app(self) -> Starlette:
        routes = [
            Route("/answers", handler, methods=[method])
            for method, handler in (
                ("GET", self._list), ("DELETE", self._purge), ("POST", self._fetch), ("PUT", self._push),
            )
        ]  # fmt: skip
        return Starlette(routes=routes, exception_handlers={HTTPException: _refuse})

    async def _list(self, asked: WebRequest) -> JSONResponse:
        now = self._wall()
        found = self._cache.store.index.under(asked.query_params.get("prefix", ""))
        shown = [
            {
                "url": entry.key,
                "status": entry.head.status,
                "bytes": entry.length,
                "age_s": round(current_age(entry.head, entry.times, now)),
                "ttl_s": round(lifetime(entry.head) - current_age(entry.head, entry.times, now)),
                "vary": {name.decode(): value.decode("latin-1") for name, value in entry.selecting},
            }
            for entry in found[:MOST_LISTED]
        ]
        return JSONResponse({"answers": shown, "count": len(found)})

    async def _purge(self, asked: WebRequest) -> JSONResponse:
        if (url := asked.query_params.get("url")) is not None:
            count = await self._cache.purge({self._request(url)[0].key}.__contains__)
        elif (prefix := asked.query_params.get("prefix")) is not None:
            count = await self._cache.purge(lambda key: key.startswith(prefix))
        else:
            raise HTTPException(400, "name a url or a prefix")
        return JSONResponse({"purged": count})

    async def _fetch(self, asked: WebRequest) -> JSONResponse:
        request, site = self._request(asked.query_params.get("url", ""))
        answer, flight = await self._cache.fetch(request, site)
        count = 0
        try:
            while data := await answer.body.read(CHUNK):
                count += len(data)
        except (Broken, OriginError) as error:
            raise HTTPException(502, f"the origin broke off: {error}") from None
        finally:
            answer.body.close()
        await flight.ended.wait()
        return JSONResponse({
            "url": request.key, "status": answer.head.status, "bytes": count, "stored": flight.entry is not None,
            "cache": answer.status if count <= self._cache.largest else "fwd=miss; detail=size",
        })  # fmt: skip

    async def _push(self, asked: WebRequest) -> JSONResponse:
        request, _ = self._request(asked.query_params.get("url", ""))
        headers = tuple(
            (name.removeprefix(STORED).encode(), value.encode("latin-1"))
            for name, value in asked.headers.items()
            if name.startswith(STORED)
        )
        store = self._cache.store
        id_, descriptor = store.create()
        length = crc = 0
        stored = False
        try:
            async with aclosing(asked.stream()) as body:
                async for data in body:
                    if length + len(data) > self._cache.largest:
                        raise HTTPException(413, f"more than largest_mb: {self._cache.largest} bytes")
                    write_at(descriptor, data, length)
                    length, crc = length + len(data), zlib.crc32(data, crc)
            now = self._wall()
            entry = Entry(id_, request.key, (), Head(200, headers), Times(now, now), length, crc)
            await store.commit(entry, descriptor)
            stored = True
        except OSError as error:
            raise HTTPException(507, error.strerror or str(error)) from None
        except ClientDisconnect:
            raise HTTPException(400, "the content did not come whole") from None
        finally:
            os.close(descriptor)
            if not stored:
                store.abandon(id_)
        return JSONResponse({"url": request.key, "bytes": length})

    def _request(self, url: str) -> tuple[Request, Site]:
        """A GET of a URL that the proxy may answer for."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").removesuffix("."), parts.port
            target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}".encode("ascii")
        except ValueError:
            raise HTTPException(
                400, f"{_short(url)} is no URL; write it as http://shop.apps.example/video.mp4"
            ) from None
        if len(url) >= MAX_HEAD or not all(0x21 <= octet <= 0x7E for octet in target):
            raise HTTPException(400, f"no client can ask for {_short(url)}; write spaces and the like as %20, and less")
        https = parts.scheme == "https"
        site = self._find(host, port, https=https)
        if parts.scheme not in ("http", "https") or site is None:
            raise HTTPException(400, f"{_short(url)} is of no application that this node serves by http or https")
        return Request(b"GET", host, site.port, target, https=https), site


def _short(url: str) -> str:
    return repr(url if len(url) <= MOST_SHOWN else f"{url[:MOST_SHOWN]}...")


async def _refuse(_asked: WebRequest, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)
