"""Addresses, ports, and the servers that have them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
IPInterface = IPv4Interface | IPv6Interface


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ANY = "any"
    """Every IP protocol, every port."""


@dataclass(frozen=True, slots=True)
class SocketAddress:
    host: IPAddress
    port: int

    def __hash__(self) -> int:
        # An address hashes the text of its number.
        return hash((int(self.host), self.port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.host.version == 6 else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PortRange:
    protocol: Protocol
    low: int = 0
    high: int = 65535
    """Inclusive; 0..65535 for protocols without ports."""

    def __str__(self) -> str:
        """As in a topology file."""
        if (self.low, self.high) == (0, 65535):
            return self.protocol
        return f"{self.protocol}/{self.low}" + (f"-{self.high}" if self.high != self.low else "")


@dataclass(frozen=True, slots=True)
class Target:
    address: IPAddress
    port: int | None
    """Destination port at the server; None keeps the client's."""
    weight: int

    def __hash__(self) -> int:
        return hash((int(self.address), self.port))
