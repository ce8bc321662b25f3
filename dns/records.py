"""Resource records in wire form, emitted by dnslib when the configuration is read and never per query.

A packed record has no owner and no compressed name in it, so it can stand anywhere: an answer puts a pointer to the
question's name, or to its last labels, in front.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from dnslib import AAAA, CLASS, QTYPE, RD, RR, TXT, A, DNSBuffer, DNSLabel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from topology.model import IPAddress

TYPE_A, TYPE_NS, TYPE_CNAME, TYPE_SOA, TYPE_PTR, TYPE_HINFO, TYPE_TXT, TYPE_AAAA, TYPE_ANY = (
    1,
    2,
    5,
    6,
    12,
    13,
    16,
    28,
    255,
)
REFRESH, RETRY, EXPIRE = 3600, 600, 604800
TO_QUESTION = b"\xc0\x0c"
"""Pointer to the question's name."""

_HEAD = struct.Struct("!HHIH")
HEAD = _HEAD.size
"""Bytes of a packed record before its data."""

Records = tuple[bytes, ...]


def wire_name(name: str) -> bytes:
    """Returns the uncompressed wire form, as it is written."""
    buffer = _Plain()
    buffer.encode_name(DNSLabel(name))
    return bytes(buffer.data)


def asked_name(text: str) -> bytes:
    """The wire form in lower case of a name that somebody typed; ``ValueError`` when it is none."""
    try:
        return wire_name(text.lower().rstrip(".") + ".")
    except Exception:  # noqa: BLE001 dnslib raises what it likes for a name that it cannot write
        raise ValueError(f"{text!r} is no domain name") from None


def parent(name: bytes) -> bytes:
    """Returns the wire name without its first label; the root is its own parent."""
    return name[1 + name[0] :] if name[0] else name


def pack(rdata: Any, ttl: int) -> bytes:
    """``rdata`` of a dnslib class as a record without owner."""
    return _pack(getattr(QTYPE, type(rdata).__name__), rdata, ttl)


def pack_data(kind: int, ttl: int, data: bytes) -> bytes:
    """Data that is in wire form already."""
    return _pack(kind, RD(data), ttl)


def pack_addresses(addresses: Iterable[IPAddress], ttl: int) -> dict[int, Records]:
    """Type -> records."""
    packed: dict[int, Records] = {}
    for address in addresses:
        kind, rdata = (TYPE_A, A(str(address))) if address.version == 4 else (TYPE_AAAA, AAAA(str(address)))
        packed[kind] = (*packed.get(kind, ()), pack(rdata, ttl))
    return packed


def pack_chaos(*strings: str) -> bytes:
    """A TXT record of class CH without owner; strings of at most 255 bytes."""
    buffer = _Plain()
    RR(".", TYPE_TXT, CLASS.CH, 0, TXT(list(strings))).pack(buffer)
    return bytes(buffer.data[1:])


def soa_around(apex: bytes, whole: bytes) -> Records:
    """Returns an SOA record in pieces between which a pointer to the apex belongs, the owner's first.

    A negative answer joins them with the pointer that fits its question: it is what abuse gets most, so its length
    counts.
    """
    kind, qclass, ttl, length = _HEAD.unpack_from(whole)
    numbers = whole[-20:]
    names = _split_names(whole[HEAD:-20])
    inside = [name.endswith(apex) for name in names]
    pieces = [b"", _HEAD.pack(kind, qclass, ttl, length - sum(inside) * (len(apex) - 2))]
    for name, short in zip(names, inside, strict=True):
        pieces[-1] += name[: -len(apex)] if short else name
        if short:
            pieces.append(b"")
    pieces[-1] += numbers
    return tuple(pieces)


class _Plain(DNSBuffer):  # type: ignore[misc]
    """Writes names in full: pointers would be wrong as soon as the record stands elsewhere."""

    def encode_name(self, name: DNSLabel) -> None:
        self.encode_name_nocompress(name)


def _split_names(data: bytes) -> tuple[bytes, bytes]:
    end = 0
    while data[end]:
        end += 1 + data[end]
    return data[: end + 1], data[end + 1 :]


def _pack(kind: int, rdata: Any, ttl: int) -> bytes:
    buffer = _Plain()
    RR(".", kind, ttl=ttl, rdata=rdata).pack(buffer)
    return bytes(buffer.data[1:])
