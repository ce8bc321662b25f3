"""Which addresses Braid may send packets to on behalf of clients: the part of the policy that needs no topology."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.model import IPAddress

_KINDS = (
    ("the unspecified address", ("0.0.0.0/8", "::/128")),
    ("a loopback address", ("127.0.0.0/8", "::1/128")),
    ("a link-local address", ("169.254.0.0/16", "fe80::/10")),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    ("a reserved or broadcast address", ("240.0.0.0/4",)),
    ("a deprecated site-local address", ("fec0::/10",)),
    ("an IPv4-mapped address", ("::ffff:0:0/96",)),
    ("an IPv4-compatible address", ("::/96",)),
    ("an IPv4-translated address", ("::ffff:0:0:0/96",)),
)
_FORBIDDEN = tuple((ip_network(text), kind) for kind, texts in _KINDS for text in texts)
_NAT64 = IPv6Network("64:ff9b::/96")


def forbidden_target(address: IPAddress) -> str | None:
    """What makes the address no target server ("a loopback address"), or None when it may be one.

    An IPv6 address that carries an IPv4 address (NAT64, 6to4, Teredo) is judged by that one, too: otherwise another
    spelling would reach what the plain one may not.
    """
    for network, kind in _FORBIDDEN:
        if address.version == network.version and address in network:
            return kind
    for embedded in _embedded(address):
        if (inner := forbidden_target(embedded)) is not None:
            return f"{inner} inside an IPv6 address"
    return None


def _embedded(address: IPAddress) -> tuple[IPv4Address, ...]:
    if not isinstance(address, IPv6Address):
        return ()
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    return address.teredo or ()
