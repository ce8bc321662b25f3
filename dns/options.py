"""EDNS options, read from queries and written into answers. RFC 6891, 5001 (NSID), 7828, 7871, 7873.

Options that are not known are skipped and never echoed.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAX_OPTIONS = 32
UDP_SIZE = 1232
"""Bytes that we take and send in one datagram: fits every IPv6 path without fragments."""

NSID, CLIENT_SUBNET, COOKIE, KEEPALIVE = 3, 8, 10, 11

_OPTION = struct.Struct("!HH")
_SUBNET = struct.Struct("!HBB")
_OPT = struct.Struct("!xHHBBHH")
_TYPE_OPT = 41
_DO = 0x8000
_FAMILY_BYTES = {1: 4, 2: 16}


class BadOption(Exception):
    """One of the options is malformed; the message is the reason under which it is counted."""


class ClientSubnet(NamedTuple):
    """The prefix of a client for whom a resolver asks (RFC 7871 section 6)."""

    family: int
    """1 is IPv4, 2 IPv6; 0, always without an address, is sent by stubs that want none passed on."""
    source: int
    address: bytes
    """As many bytes as ``source`` bits need, zero beyond them."""

    @property
    def number(self) -> int:
        """The prefix as an integer of the family's whole width."""
        return int.from_bytes(self.address, "big") << 8 * (_FAMILY_BYTES[self.family] - len(self.address))


class Edns(NamedTuple):
    udp_size: int
    """As advertised; below 512 means 512."""
    do: bool
    subnet: ClientSubnet | None = None
    cookie: bytes | None = None
    """8 bytes of the client, or with those of a server 16 to 40."""
    nsid: bool = False
    keepalive: bool = False


def read_edns(udp_size: int, do: bool, data: bytes) -> Edns:
    """Reads the options of an OPT record. Raises ``BadOption``."""
    subnet: ClientSubnet | None = None
    cookie: bytes | None = None
    nsid = keepalive = False
    offset = count = 0
    while offset < len(data):
        count += 1
        if offset + _OPTION.size > len(data) or count > MAX_OPTIONS:
            raise BadOption("option")
        code, length = _OPTION.unpack_from(data, offset)
        offset += _OPTION.size
        value = data[offset : offset + length]
        if len(value) != length:
            raise BadOption("option")
        offset += length
        if code == COOKIE:
            # Only the first counts (RFC 7873 section 5.2).
            if length != 8 and not 16 <= length <= 40:
                raise BadOption("cookie")
            cookie = value if cookie is None else cookie
        elif code == CLIENT_SUBNET:
            if subnet is not None:
                raise BadOption("subnet")
            subnet = _read_subnet(value)
        elif code == NSID:
            nsid = True
        elif code == KEEPALIVE:
            keepalive = True
    return Edns(udp_size, do, subnet, cookie, nsid, keepalive)


def _read_subnet(value: bytes) -> ClientSubnet:
    if len(value) < _SUBNET.size:
        raise BadOption("subnet")
    family, source, scope = _SUBNET.unpack_from(value)
    address = value[_SUBNET.size :]
    bits = 8 * _FAMILY_BYTES.get(family, 0)
    if scope or source > bits or (family not in _FAMILY_BYTES and family != 0) or len(address) != (source + 7) // 8:
        raise BadOption("subnet")
    if source % 8 and address[-1] & (255 >> source % 8):
        raise BadOption("subnet")
    return ClientSubnet(family, source, address)


def subnet_option(subnet: ClientSubnet, scope: int) -> bytes:
    head = _OPTION.pack(CLIENT_SUBNET, _SUBNET.size + len(subnet.address))
    return head + _SUBNET.pack(subnet.family, subnet.source, scope) + subnet.address


def option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + value


def opt_record(rcode: int, do: bool, options: bytes = b"") -> bytes:
    """Our OPT record for an answer with this extended rcode; DO as it was asked, other flags clear."""
    return _OPT.pack(_TYPE_OPT, UDP_SIZE, rcode >> 4, 0, _DO if do else 0, len(options)) + options
