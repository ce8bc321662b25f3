"""The lab's target server: an HTTP/1.1 server on IPv4 and IPv6 with objects of any size and known content.

``/`` names the host, ``/object/<size>`` (1000, 64kB, 200MB) streams deterministic bytes, ``/headers`` tells what
arrived and from where. ``/note/<name>`` is what was last PUT there, which may be stored for an hour. Run as
``python -m lab.origin --name NAME [--port 80]...``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = random.Random(7402).randbytes(1 << 20)
_UNITS = {"": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d{1,12})([kMG]B|[KMG]iB)?")
MAX_SIZE = 1 << 40
MOST_NOTE, MOST_NOTES = 1 << 20, 100


def size_of(text: str) -> int:
    """Bytes that "200MB", "64KiB" or "1000" stand for; ValueError for anything else or beyond ``MAX_SIZE``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    size = int(match[1]) * _UNITS[match[2] or ""]
    if size > MAX_SIZE:
        raise ValueError(f"{text!r} is no size")
    return size


def chunks(size: int) -> Iterator[memoryview]:
    """The object of ``size`` bytes: one random megabyte over and over."""
    block = memoryview(_BLOCK)
    for _ in range(size // len(block)):
        yield block
    if size % len(block):
        yield block[: size % len(block)]


def digest(size: int) -> str:
    """SHA-256 of the object in hex, as ``sha256sum`` prints it."""
    total = hashlib.sha256()
    for chunk in chunks(size):
        total.update(chunk)
    return total.hexdigest()


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, name: str) -> None:
        self.origin_name = name
        self.notes: dict[str, bytes] = {}
        super().__init__(("::", port), Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # HTTPServer's own server_bind asks DNS for the host's full name, which can hang in a lab.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.origin_name, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are everyday life in this lab."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 120

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        name = self.path.removeprefix("/note/")
        notes = self.server.notes
        if name == self.path or length > MOST_NOTE or (len(notes) >= MOST_NOTES and name not in notes):
            self.close_connection = True
            self._send(b"a note is short, and goes to /note/<name>\n", "text/plain", True, 400)
            return
        notes[name] = self.rfile.read(length)
        self._send(b"noted\n", "text/plain", True)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing: a log line per request would cost more than the request."""

    def _answer(self, *, body: bool) -> None:
        if self.path == "/":
            self._send(f"{self.server.origin_name}\n".encode(), "text/plain", body)
        elif self.path == "/headers":
            host, port = self.client_address[:2]
            seen = {
                "origin": self.server.origin_name,
                "client": host.removeprefix("::ffff:"),
                "port": port,
                "headers": dict(self.headers),
            }
            self._send(json.dumps(seen).encode() + b"\n", "application/json", body)
        elif self.path.startswith("/object/"):
            self._object(self.path.removeprefix("/object/"), body)
        elif self.path.startswith("/cached/"):
            self._object(self.path.removeprefix("/cached/"), body, {"Cache-Control": "max-age=3600", "ETag": '"1"'})
        elif self.path.startswith("/note/"):
            note = self.server.notes.get(self.path.removeprefix("/note/"), b"")
            self._head(200, "text/plain", len(note), {"Cache-Control": "max-age=3600"})
            self.wfile.write(note if body else b"")
        else:
            pages = b"no such page; there are / /headers /object/<size> /cached/<size> /note/<name>\n"
            self._send(pages, "text/plain", body, 404)

    def _object(self, text: str, body: bool, headers: dict[str, str] | None = None) -> None:
        try:
            size = size_of(text)
        except ValueError:
            self._send(b"write the size as 1000, 64kB, 200MB or 1GiB\n", "text/plain", body, 400)
            return
        self._head(200, "application/octet-stream", size, headers)
        if body:
            for chunk in chunks(size):
                self.wfile.write(chunk)

    def _send(self, content: bytes, kind: str, body: bool, code: int = 200) -> None:
        self._head(code, kind, len(content))
        if body:
            self.wfile.write(content)

    def _head(self, code: int, kind: str, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="lab.origin", description="HTTP server with objects of known content.")
    parser.add_argument("--name", default=socket.gethostname())
    parser.add_argument("--port", type=int, action="append")
    options = parser.parse_args(argv)
    servers = [Server(port, options.name) for port in options.port or [80]]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
