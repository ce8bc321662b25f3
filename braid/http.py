"""HTTP messages that are passed on: which headers go on, what may be read in two ways, whose address is told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import h11

    from topology.model import IPAddress

Headers = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"proxy-authenticate"))
"""RFC 9110 7.6.1, without Transfer-Encoding and Trailer: the framing is kept."""


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


def without_port(authority: str) -> str:
    if authority.startswith("["):
        return authority.partition("]")[0].removeprefix("[")
    return authority.partition(":")[0].removesuffix(".")


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns is the name, or ``*.`` and a name above it."""
    return any(
        name.endswith(pattern[1:]) and len(name) > len(pattern) - 1 if pattern.startswith("*.") else name == pattern
        for pattern in patterns
    )


def target_at(reference: bytes, host: str, port: int, *, https: bool = False) -> bytes:
    """Path and query of a reference to that origin (RFC 3986 4.1), else nothing."""
    reference = reference.partition(b"#")[0]
    scheme, usual = ("https", 443) if https else ("http", 80)
    own = f"{scheme}://{host}".encode()
    for origin in (own + f":{port}".encode(), own if port == usual else b""):
        if origin and reference.lower().startswith(origin) and reference[len(origin) :][:1] in (b"/", b""):
            return reference[len(origin) :] or b"/"
    return reference if reference.startswith(b"/") and not reference.startswith(b"//") else b""


def onward(headers: Iterable[tuple[bytes, bytes]], *, upgrade: bool = False) -> Headers:
    """Headers that are meant for the other side too; with ``upgrade`` also those about another protocol."""
    listed = list(headers)
    lists = [value for name, value in listed if name == b"connection"]
    named = {word.strip().lower() for value in lists for word in value.split(b",")}
    dropped = (HOP_BY_HOP | named) - {b"transfer-encoding", b"content-length", b"host"}
    kept = [(name, value) for name, value in listed if name not in dropped]
    if upgrade:
        kept += [(name, value) for name, value in listed if name == b"upgrade"]
        kept.append((b"connection", b"upgrade"))
    return kept


def forwarded(headers: Headers, client: IPAddress, *, https: bool = False) -> Headers:
    """With the client's address added behind those that proxies before us wrote (RFC 7239 and the older form)."""
    before = [value for name, value in headers if name == b"x-forwarded-for"]
    told = [value for name, value in headers if name == b"forwarded"]
    element = f'for="[{client}]"' if client.version == 6 else f"for={client}"
    kept = [each for each in headers if each[0] not in (b"x-forwarded-for", b"forwarded")]
    kept.append((b"x-forwarded-for", b", ".join([*before, str(client).encode()])))
    kept.append((b"forwarded", b", ".join([*told, f"{element};proto={'https' if https else 'http'}".encode()])))
    return kept
