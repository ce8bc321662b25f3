"""The server name and protocols that a TLS ClientHello asks for (RFC 8446 4.1.2, RFC 6066 3, RFC 7301); pure.

```
record:     type 22 | version 2 | length 2 | handshake bytes ...      (the message may span records)
handshake:  type 1 | length 3 | version 2 | random 32 | session id <1> | cipher suites <2> | compression <1>
            | extensions <2>          (<n>: behind a length of n bytes)
```
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from braid.errors import BadPacket

MAX_HELLO = 16_384
"""Bytes of a ClientHello; post-quantum key shares take about 2,000."""
PULL = "braid-pull"
"""Protocol that a content proxy names to an origin, beside the one that it speaks: its connection is not to be
transferred, as what it lacks would lead back to it."""
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _VERSIONS = 0, 16, 43
_NAME = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class ClientHello:
    sni: str
    """Lower case, without a final dot; empty when no name is asked for."""
    alpn: tuple[str, ...]
    newest: int
    """Version of TLS that the client speaks at most, as it is on the wire; what is newer than 1.3 counts as that."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise BadPacket("tls_truncated")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes behind their length, which has ``size`` bytes."""
        return self.take(self.number(size))

    def more(self) -> bool:
        return self._at < len(self._data)


def decode_client_hello(data: bytes) -> ClientHello | None:
    """What the first bytes of a connection ask for; None while there are too few of them. BadPacket when they are no
    ClientHello."""
    message = _handshake_message(data)
    if message is None:
        return None
    body = _Reader(message)
    version = body.number(2)
    body.take(32)
    if len(body.vector(1)) > 32:
        raise BadPacket("tls_session_id")
    body.vector(2)
    body.vector(1)
    if not body.more():
        return ClientHello("", (), min(version, TLS_1_2))
    extensions = _Reader(body.vector(2))
    if body.more():
        raise BadPacket("tls_trailing")
    found: dict[int, bytes] = {}
    while extensions.more():
        kind, content = extensions.number(2), extensions.vector(2)
        if kind in found:
            raise BadPacket("tls_extension_twice")
        found[kind] = content
    name = _server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else ""
    protocols = _protocols(found[_ALPN]) if _ALPN in found else ()
    newest = _newest(found[_VERSIONS]) if _VERSIONS in found else min(version, TLS_1_2)
    return ClientHello(name, protocols, newest)


def _handshake_message(data: bytes) -> bytes | None:
    """The body of the first handshake message, out of its records."""
    gathered, at = b"", 0
    while True:
        head = data[at : at + 5]
        if (head and head[0] != _HANDSHAKE) or (len(head) > 1 and head[1] != 3):
            raise BadPacket("tls_record")
        if len(gathered) >= 1 and gathered[0] != _CLIENT_HELLO:
            raise BadPacket("tls_no_client_hello")
        if len(gathered) >= 4:
            length = int.from_bytes(gathered[1:4], "big")
            if length > MAX_HELLO:
                raise BadPacket("tls_too_long")
            if len(gathered) >= 4 + length:
                return gathered[4 : 4 + length]
        if len(head) < 5:
            return None
        size = int.from_bytes(head[3:5], "big")
        if not 1 <= size <= 16_384:
            raise BadPacket("tls_record_length")
        fragment = data[at + 5 : at + 5 + size]
        gathered += fragment
        if len(fragment) < size:
            if gathered and gathered[0] != _CLIENT_HELLO:
                raise BadPacket("tls_no_client_hello")
            return None
        at += 5 + size


def _server_name(content: bytes) -> str:
    names = _Reader(content)
    entries = _Reader(names.vector(2))
    if names.more() or not entries.more():
        raise BadPacket("tls_server_name")
    kind, name = entries.number(1), entries.vector(2)
    if kind != 0 or entries.more() or not _NAME.fullmatch(name.removesuffix(b".")):
        raise BadPacket("tls_server_name")
    return name.decode("ascii").lower().removesuffix(".")


def _newest(content: bytes) -> int:
    reader = _Reader(content)
    versions = reader.vector(1)
    if reader.more() or not versions or len(versions) % 2:
        raise BadPacket("tls_versions")
    # Words of another kind stand among them, to see that servers pass them over (RFC 8701).
    known = (int.from_bytes(versions[at : at + 2], "big") for at in range(0, len(versions), 2))
    return max((each for each in known if each <= TLS_1_3), default=0)


def _protocols(content: bytes) -> tuple[str, ...]:
    reader = _Reader(content)
    entries = _Reader(reader.vector(2))
    if reader.more() or not entries.more():
        raise BadPacket("tls_alpn")
    found = []
    while entries.more():
        word = entries.vector(1)
        if not word:
            raise BadPacket("tls_alpn")
        found.append(word.decode("latin-1"))
    return tuple(found)
