"""HTTP messages as a gateway passes them on: what selects a server, which headers go on, what is refused. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.proxy.events import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    import h11

    from gateway.proxy.events import ClientData

Headers = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"proxy-authenticate"))
"""RFC 9110 7.6.1, without Transfer-Encoding and Trailer: the framing is kept."""
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


def smuggled(request: h11.Request) -> str:
    """Why a request may be read in two ways (RFC 9112 11.2); empty when it may not."""
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            return "http_length_and_chunked"
        if request.http_version != b"1.1":
            return "http_chunked_in_1_0"
    if names.count(b"content-length") > 1:
        return "http_two_lengths"
    if names.count(b"host") > 1:
        return "http_two_hosts"
    return ""


def split_target(request: h11.Request) -> tuple[bytes, bytes]:
    """The target as a server wants it, which begins with ``/`` or is ``*``, and the authority that is asked for."""
    host = next((value for name, value in request.headers if name == b"host"), b"")
    scheme, separator, rest = request.target.partition(b"://")
    if separator and scheme.lower() in (b"http", b"https"):
        authority, slash, path = rest.partition(b"/")
        return slash + path or b"/", authority
    return request.target, host


def as_request(request: h11.Request, client_data: ClientData) -> Request:
    target, authority = split_target(request)
    headers: dict[str, str] = {}
    for name, value in request.headers:
        word, text = name.decode("latin-1"), value.decode("latin-1")
        headers[word] = f"{headers[word]}, {text}" if word in headers else text
    return Request(
        client_data,
        method=request.method.decode("latin-1"),
        host=_without_port(authority.decode("latin-1").lower()),
        path=target.partition(b"?")[0].decode("latin-1"),
        headers=headers,
    )


def _without_port(authority: str) -> str:
    if authority.startswith("["):
        return authority.partition("]")[0].removeprefix("[")
    return authority.partition(":")[0].removesuffix(".")


def asks_for_another_protocol(request: h11.Request) -> bool:
    """Whether an upgrade is to be passed on. Not to HTTP/2 without TLS: behind it requests would pass unseen, and a
    client may go on with HTTP/1.1 (RFC 9113 3.1)."""
    words = [value.lower() for name, value in request.headers if name == b"upgrade"]
    return bool(words) and request.http_version == b"1.1" and not any(b"h2c" in each for each in words)


def onward(headers: Iterable[tuple[bytes, bytes]], *, upgrade: bool) -> Headers:
    """Headers that are meant for the other side too; with ``upgrade`` also those about another protocol."""
    listed = list(headers)
    lists = [value for name, value in listed if name == b"connection"]
    named = {word.strip().lower() for value in lists for word in value.split(b",")}
    dropped = (_HOP_BY_HOP | named) - {b"transfer-encoding", b"content-length", b"host"}
    kept = [(name, value) for name, value in listed if name not in dropped]
    if upgrade:
        kept += [(name, value) for name, value in listed if name == b"upgrade"]
        kept.append((b"connection", b"upgrade"))
    return kept


def forwarded(headers: Headers, client_data: ClientData) -> Headers:
    """With the client's address added behind those that proxies before us wrote (RFC 7239 and the older form)."""
    client = client_data.client.host
    before = [value for name, value in headers if name == b"x-forwarded-for"]
    told = [value for name, value in headers if name == b"forwarded"]
    element = f'for="[{client}]"' if client.version == 6 else f"for={client}"
    kept = [each for each in headers if each[0] not in (b"x-forwarded-for", b"forwarded")]
    kept.append((b"x-forwarded-for", b", ".join([*before, str(client).encode()])))
    kept.append((b"forwarded", b", ".join([*told, f"{element};proto=http".encode()])))
    return kept
