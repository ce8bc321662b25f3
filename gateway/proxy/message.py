"""HTTP messages as a gateway passes them on: what selects a server, and what is refused. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.http import split_target, without_port
from gateway.proxy.events import Request

if TYPE_CHECKING:
    import h11

    from gateway.proxy.events import ClientData

_REASONS = {
    400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip
STATUSES = frozenset(_REASONS)
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""RFC 9110 9.2.2: may be sent to another server after the first one's connection broke."""


def answer(status: int) -> bytes:
    """A whole answer of the gateway's own, after which the connection ends."""
    body = f"{status} {_REASONS[status]}\n".encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def as_request(request: h11.Request, client_data: ClientData) -> Request:
    target, authority = split_target(request)
    headers: dict[str, str] = {}
    for name, value in request.headers:
        word, text = name.decode("latin-1"), value.decode("latin-1")
        headers[word] = f"{headers[word]}, {text}" if word in headers else text
    path, _, query = target.decode("latin-1").partition("?")
    return Request(
        client_data,
        client_data.sni,
        (client_data.alpn,) if client_data.alpn else (),
        method=request.method.decode("latin-1"),
        host=without_port(authority.decode("latin-1").lower()),
        path=path,
        query=query,
        headers=headers,
    )


def asks_for_another_protocol(request: h11.Request) -> bool:
    """Whether an upgrade is to be passed on. Not to HTTP/2 without TLS: behind it requests would pass unseen, and a
    client may go on with HTTP/1.1 (RFC 9113 3.1)."""
    words = [value.lower() for name, value in request.headers if name == b"upgrade"]
    return bool(words) and request.http_version == b"1.1" and not any(b"h2c" in each for each in words)
