"""Queries with errors in them: what a hostile or broken sender might write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dns.records import wire_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


def question(name: str, kind: int = 1, qclass: int = 1) -> bytes:
    return wire_name(name) + struct.pack("!HH", kind, qclass)


def query(body: bytes, options: bytes | None = None, *, ident: int = 7, flags: int = 0, ttl: int = 0) -> bytes:
    """One question; with ``options``, which may be empty, an OPT record."""
    head = struct.pack("!6H", ident, flags, 1, 0, 0, options is not None)
    if options is None:
        return head + body
    return head + body + struct.pack("!xHHIH", 41, 1232, ttl, len(options)) + options


def subnet(prefix: bytes) -> bytes:
    """The option for the client's prefix of 24 bits."""
    return struct.pack("!HHHBB3s", 8, 7, 1, 24, 0, prefix)


def sound_queries(names: Sequence[str]) -> list[bytes]:
    """Of every kind that is worth breaking."""
    client = subnet(b"\x01\x02\x03")
    cookie = struct.pack("!HH8s", 10, 8, b"abcdefgh")
    found = [query(question(name, kind)) for name in names for kind in (1, 28, 255, 65)]
    found += [query(question(name), options) for name in names for options in (b"", client, cookie, client + cookie)]
    found += [
        query(b"\x01a" * 127 + b"\x00\x00\x01\x00\x01"),
        query(question(names[0]), bytes(1200)),
        query(question(names[0]), b"", ttl=1 << 16),
        query(question("version.bind", 16, 3)),
        query(question(names[0]), b"", flags=0x2800),
        struct.pack("!6H", 7, 0, 0, 0, 0, 1) + struct.pack("!xHHIH", 41, 1232, 0, 12) + cookie,
    ]
    return found


def mutated(rng: Random, sound: Sequence[bytes]) -> bytes:
    """One of them with one to six errors: wrong bytes, flipped bits, cut off, or with bytes too many."""
    data = bytearray(rng.choice(sound))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[max(at, 1) :]
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            case _:
                # Counts and lengths are two bytes.
                data[at : at + 2] = rng.choice((b"\x00\x00", b"\xff\xff", b"\xc0\x0c", b"\x00\x01"))
    return bytes(data)
