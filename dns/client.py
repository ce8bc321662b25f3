"""For whom a query asks: the address it came from, or the client prefix that a resolver passes on (RFC 7871)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from topology.model import ClientSubnetUse

if TYPE_CHECKING:
    from dns.options import ClientSubnet

_VERSION = {4: 4, 16: 6}


class Client(NamedTuple):
    version: int
    number: int
    """The address as an integer; of a prefix its first one."""
    passed_on: bool
    """Whether this is the prefix of the option, so that the answer is right for its scope."""


def client_of(source: bytes, subnet: ClientSubnet | None, use: ClientSubnetUse) -> Client:
    """``source`` is the packed address of the sender."""
    return (subnet and passed_on(subnet, use)) or sender(source)


def sender(source: bytes) -> Client:
    return Client(_VERSION[len(source)], int.from_bytes(source, "big"), False)


def passed_on(subnet: ClientSubnet, use: ClientSubnetUse) -> Client | None:
    """None when it is not to be used, or has length 0, which asks for an answer to the sender itself."""
    if subnet.source and use is not ClientSubnetUse.OFF:
        version = 4 if subnet.family == 1 else 6
        number = subnet.number
        if use is ClientSubnetUse.ALL or _is_global(version, number):
            return Client(version, number, True)
    return None


@lru_cache(maxsize=16384)
def _is_global(version: int, number: int) -> bool:
    return ip_address(number.to_bytes(4 if version == 4 else 16, "big")).is_global
