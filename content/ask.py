"""What ``braid content`` says to a running content proxy: HTTP over the operator's socket."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from topology.content import OPERATOR_SOCKET

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO


class NotAnswered(Exception):
    """No node answers there; the message says where and what to do."""


class Refused(Exception):
    """The node says no, and why."""


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    directory: Path,
    method: str,
    query: Mapping[str, str],
    *,
    body: BinaryIO | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 60.0,
) -> dict[str, Any]:
    """The document that the node answers with. ``NotAnswered`` and ``Refused``. Without a ``timeout`` where what there
    is to do may take as long as it wants; the node has bounds of its own for those that it waits for."""
    path = directory / OPERATOR_SOCKET
    connection = _Unix(path, timeout)
    try:
        # A node that refuses does not read to the end: its answer says why, and not that it did not.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, f"/answers?{urlencode(query)}", body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        document: dict[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error) or "no answer"
        raise NotAnswered(
            f"{path}: {why[0].lower()}{why[1:]}; run this on the content proxy's host, while it runs"
        ) from None
    finally:
        connection.close()
    if answer.status >= 400:
        raise Refused(str(document.get("error", answer.reason)))
    return document
