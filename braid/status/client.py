"""Asking a node's status endpoint. Imports little: a health check that runs every few seconds starts from here."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

DEFAULT_URL = "http://127.0.0.1:7480"
DEFAULT_PORT = 7480
MAX_BYTES = 32 << 20


class Unreachable(Exception):
    """No usable answer; the message says why."""


class BadUrl(Exception):
    """Not the address of a status endpoint; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node answers. ``connect`` makes the connected socket where it is not simply reachable from here."""

    name: str
    host: str
    port: int
    connect: Callable[[str, int, float], socket.socket] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Any


def endpoint_of(url: str) -> Endpoint:
    """``http://HOST[:PORT]``, or HOST:PORT alone. Raises ``BadUrl``."""
    expected = f"{url!r} is not the address of a status endpoint; write http://HOST:PORT, IPv6 in brackets"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise BadUrl(expected) from error
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise BadUrl(expected)
    return Endpoint(parts.netloc, parts.hostname, DEFAULT_PORT if port is None else port)


def get(endpoint: Endpoint, path: str, timeout: float = 3.0) -> Answer:
    """One GET; the answer must be JSON, whatever its code. Blocks at most about ``timeout`` seconds per step."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=timeout)
    try:
        if endpoint.connect is not None:
            connection.sock = endpoint.connect(endpoint.host, endpoint.port, timeout)
        connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(_reason(error)) from error
    finally:
        connection.close()
    if len(body) > MAX_BYTES:
        raise Unreachable(f"the answer is longer than {MAX_BYTES} bytes")
    try:
        return Answer(response.status, json.loads(body))
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"answered {response.status} without JSON: not a status endpoint?") from error


def get_document(endpoint: Endpoint, path: str, timeout: float = 3.0) -> dict[str, Any]:
    """The JSON object at ``path``; ``Unreachable`` also for any code but 200."""
    answer = get(endpoint, path, timeout)
    if answer.code != 200 or not isinstance(answer.body, dict):
        detail = answer.body.get("error", "") if isinstance(answer.body, dict) else ""
        raise Unreachable(f"answered {answer.code} {detail}".rstrip())
    return answer.body


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
