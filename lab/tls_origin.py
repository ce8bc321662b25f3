"""An origin that speaks TLS, with Python's own server: HTTP/1.1, each request a line in a log. Run it with the files of
its certificate and key, and the log's."""

from __future__ import annotations

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET6

SIZE = 1_000_000


def body(path: str) -> bytes:
    """What is at a path."""
    return (path.encode() + b"\n") * (SIZE // (len(path) + 1))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log = Path()

    def do_GET(self) -> None:
        self._answer(body(self.path), "max-age=600" if self.path.startswith("/cached/") else "no-store")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])), "no-store")

    def _answer(self, content: bytes, cache: str) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.send_header("cache-control", cache)
        self.send_header("x-forwarded", self.headers.get("forwarded", ""))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, text: str, *words: object) -> None:
        with self.log.open("a") as log:
            log.write(text % words + "\n")


class Server(ThreadingHTTPServer):
    address_family = AF_INET6
    daemon_threads = True

    def handle_error(self, _request: object, _client: object) -> None:
        with Handler.log.open("a") as log:
            log.write(f"error {sys.exc_info()[1]!r}\n")


if __name__ == "__main__":
    certificate, key, log = sys.argv[1:]
    Handler.log = Path(log)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("::", 443), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    sys.stderr.write("listening\n")
    sys.stderr.flush()
    server.serve_forever()
