"""The zone as packed resource records, emitted by dnslib when the configuration is read and never per query.

A packed record has no owner and no compressed name in it, so it can stand anywhere: an answer puts a pointer to the
question's name, or to its last labels, in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from dnslib import AAAA, EDNS0, NS, QTYPE, RR, SOA, A, DNSBuffer, DNSLabel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.config import DnsConfig
    from topology.model import IPAddress

TYPE_A, TYPE_NS, TYPE_SOA, TYPE_AAAA = 1, 2, 6, 28
INFRASTRUCTURE_TTL = 3600
"""Seconds, for what no health decides: NS, SOA and name servers' addresses."""
UDP_SIZE = 1232
"""Bytes that we take and send in one datagram: fits every IPv6 path without fragments."""
REFRESH, RETRY, EXPIRE = 3600, 600, 604800

Records = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that exists; without anything it is an empty non-terminal (RFC 8020)."""

    records: dict[int, Records]
    """Type -> records that are the same for everybody."""
    application: str | None
    """Whose A and AAAA are steered."""


@dataclass(frozen=True, slots=True)
class Zone:
    """Everything about the zone that health does not change. Names are wire form in lower case."""

    apex: bytes
    names: dict[bytes, Name]
    negative_soa: bytes
    """The SOA with the TTL of negative answers (RFC 2308 section 3)."""
    glue: tuple[tuple[bytes, Records], ...]
    """Name server -> its address records, for the additional section."""
    vips: dict[tuple[int, str], dict[int, Records]]
    """(edge, application) -> type -> records."""


def make_zone(config: DnsConfig) -> Zone:
    zone, ttl = config.zone, config.zone.ttl
    primary = config.servers[0].hostname
    serial = crc32(
        repr((zone, config.servers, sorted(config.hosts.items()), sorted(config.vips.items(), key=str))).encode()
    )
    soa = SOA(primary, zone.contact, (serial, REFRESH, RETRY, EXPIRE, ttl))
    apex = wire_name(zone.name)
    static: dict[bytes, dict[int, Records]] = {
        apex: {
            TYPE_SOA: (_pack(soa, INFRASTRUCTURE_TTL),),
            TYPE_NS: tuple(_pack(NS(server.hostname), INFRASTRUCTURE_TTL) for server in config.servers),
        }
    }
    for server in config.servers:
        static[wire_name(server.hostname)] = _addresses(server.addresses, INFRASTRUCTURE_TTL)
    steered = {wire_name(hostname): application for hostname, application in config.hosts.items()}
    names = {name: Name(static.get(name, {}), steered.get(name)) for name in _with_parents({*static, *steered}, apex)}
    glue = tuple(
        (
            wire_name(server.hostname),
            tuple(r for records in _addresses(server.addresses, INFRASTRUCTURE_TTL).values() for r in records),
        )
        for server in config.servers
    )
    vips = {key: _addresses(addresses, ttl) for key, addresses in config.vips.items()}
    return Zone(apex, names, _pack(soa, min(ttl, INFRASTRUCTURE_TTL)), glue, vips)


def wire_name(name: str) -> bytes:
    """Returns the uncompressed wire form, as it is written."""
    buffer = _Plain()
    buffer.encode_name(DNSLabel(name))
    return bytes(buffer.data)


def parent(name: bytes) -> bytes:
    """Returns the wire name without its first label; the root is its own parent."""
    return name[1 + name[0] :] if name[0] else name


def opt(rcode: int, *, do: bool) -> bytes:
    """Returns our OPT record for an answer with this extended rcode."""
    return _OPT[rcode >> 4, do]


class _Plain(DNSBuffer):  # type: ignore[misc]
    """Writes names in full: pointers would be wrong as soon as the record stands elsewhere."""

    def encode_name(self, name: DNSLabel) -> None:
        self.encode_name_nocompress(name)


def _pack(rdata: Any, ttl: int) -> bytes:
    buffer = _Plain()
    RR(".", getattr(QTYPE, type(rdata).__name__), ttl=ttl, rdata=rdata).pack(buffer)
    return bytes(buffer.data[1:])


def _addresses(addresses: Iterable[IPAddress], ttl: int) -> dict[int, Records]:
    packed: dict[int, Records] = {}
    for address in addresses:
        kind, rdata = (TYPE_A, A(str(address))) if address.version == 4 else (TYPE_AAAA, AAAA(str(address)))
        packed[kind] = (*packed.get(kind, ()), _pack(rdata, ttl))
    return packed


def _with_parents(names: set[bytes], apex: bytes) -> set[bytes]:
    """Returns the names inside the zone and every name between them and the apex."""
    found: set[bytes] = set()
    for name in names:
        chain = [name]
        while chain[-1] != apex and chain[-1] != b"\x00":
            chain.append(parent(chain[-1]))
        if chain[-1] == apex:
            found.update(chain)
    return found


def _pack_opt(extended: int, *, do: bool) -> bytes:
    buffer = _Plain()
    EDNS0(flags="do" if do else "", ext_rcode=extended, udp_len=UDP_SIZE).pack(buffer)
    return bytes(buffer.data)


_OPT = {(extended, do): _pack_opt(extended, do=do) for extended in (0, 1) for do in (False, True)}
