"""Named network namespaces: sockets, files and functions inside one.

A thread, not a process, enters a namespace: setns(2) with CLONE_NEWNET moves the calling thread only, so each entry
happens in a thread of its own which ends there.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def exists(namespace: str) -> bool:
    return (DIRECTORY / namespace).exists()


def call_in(namespace: str, function: Callable[[], T]) -> T:
    """Runs ``function`` inside the namespace and returns its result or raises its exception. Blocks."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            _enter(namespace)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, which raises it
            errors.append(error)

    thread = threading.Thread(target=body, name=f"netns-{namespace}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def socket_in(
    namespace: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, proto: int = 0
) -> socket.socket:
    """A new socket that belongs to the namespace, usable from anywhere. LabError when there is no such namespace."""
    return call_in(namespace, lambda: socket.socket(family, kind, proto))


def write_sysctls(namespace: str, values: Iterable[tuple[str, str]], *, optional: bool = False) -> None:
    """``values``: path below /proc/sys/net and text. ``optional`` skips the ones this kernel has not."""

    def write() -> None:
        for path, value in values:
            try:
                Path("/proc/sys/net", path).write_text(value)
            except FileNotFoundError:
                if not optional:
                    raise LabError(
                        f"this kernel has no sysctl net/{path}", "a kernel with IPv4 and IPv6 is needed"
                    ) from None

    call_in(namespace, write)


def http_get(namespace: str, host: str, port: int, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """One HTTP GET from inside the namespace: status code and body. OSError or HTTPException without an answer."""
    with socket_in(namespace, socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(timeout)
        sock.connect((host, port))
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = sock
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read()


def http_json(namespace: str, host: str, port: int, path: str, timeout: float = 5.0) -> Any:
    """The JSON document at ``path``; LabError when the answer is not 200."""
    code, body = http_get(namespace, host, port, path, timeout)
    if code != 200:
        raise LabError(f"http://{host}:{port}{path} answered {code}: {body[:200].decode(errors='replace')}")
    return json.loads(body)


def _enter(namespace: str) -> None:
    try:
        fd = os.open(DIRECTORY / namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabError(
            f"there is no network namespace {namespace}", "bring the lab up first: `braid lab up FILE`"
        ) from None
    try:
        if _libc.setns(fd, _CLONE_NEWNET) != 0:
            error = ctypes.get_errno()
            raise LabError(f"entering the namespace {namespace}: {os.strerror(error)}", "run as root")
    finally:
        os.close(fd)
