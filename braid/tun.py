"""The TUN device of an edge or a gateway: where the host's packets enter and leave the overlay."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import pytun

from braid.linux import NEEDS_NET_ADMIN, LinuxError, ip_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICE = "braid0"
QUEUE_LENGTH = 1000
"""Packets the kernel holds for us: 20 ms of 50,000 packets/s, the longest pause of the data thread to be survived."""

SIOCGIFFLAGS = 0x8913
IFF_UP = 1


@contextmanager
def open_tun(queues: int = 1, name: str = DEVICE) -> Iterator[list[int]]:
    """Make the device and yield one descriptor per queue.

    The core keeps its own duplicates; the device and its routes vanish when the last descriptor is closed.
    """
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR
    if queues > 1:
        flags |= pytun.IFF_MULTI_QUEUE
    opened: list[pytun.TunTapDevice] = []
    try:
        opened.extend(_open(name, flags) for _ in range(queues))
        yield [device.fileno() for device in opened]
    finally:
        for device in opened:
            device.close()


def tun_is_up(name: str = DEVICE) -> bool:
    """Whether the device exists in this network namespace and is set up (netdevice(7), SIOCGIFFLAGS)."""
    request = struct.pack("16sh22x", name.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            answer = fcntl.ioctl(asked, SIOCGIFFLAGS, request)
        except OSError:
            return False
    return bool(struct.unpack_from("16xh", answer)[0] & IFF_UP)


def _open(name: str, flags: int) -> pytun.TunTapDevice:
    try:
        return pytun.TunTapDevice(name=name, flags=flags)
    except OSError as error:
        number, problem = error.args if len(error.args) == 2 else (0, str(error))
        raise LinuxError(f"TUN device {name}", str(problem).lower(), _remedy(number)) from None


def _remedy(number: int) -> str:
    match number:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return "load it with `modprobe tun` (container: devices: [/dev/net/tun])"
        case errno.EPERM | errno.EACCES:
            return NEEDS_NET_ADMIN
        case errno.EBUSY:
            return "another node runs in this network namespace: stop it, or use a namespace per node"
        case _:
            return "check that /dev/net/tun works"


def hop_addresses(number: int) -> tuple[IPv4Address, IPv6Address]:
    """The addresses of a node's TUN device: the source of the kernel's own ICMP errors, shown by traceroute.

    Of shared address space (RFC 6598) and of a unique local prefix (RFC 4193), made from the node number.
    """
    return IPv4Address(0x64400000 | number), IPv6Address((0xFD00_0B1D << 96) | number)


async def configure_tun(number: int, mtu: int, name: str = DEVICE, queue_length: int = QUEUE_LENGTH) -> None:
    """Give the device its MTU, queue and IPv4 address, and set it up. LinuxError on failure."""
    four, _ = hop_addresses(number)
    with suppress(LinuxError):
        # Before "up": else the kernel makes a link-local address and sends router solicitations into the overlay.
        # It fails where there is no IPv6 at all, and then there is nothing to prevent.
        await ip_batch([("link", "set", name, "addrgenmode", "none")])
    await ip_batch(
        [
            ("link", "set", name, "mtu", str(mtu), "txqueuelen", str(queue_length)),
            ("link", "set", name, "up"),
            ("address", "replace", f"{four}/32", "dev", name),
        ]
    )


async def configure_tun_ipv6(number: int, name: str = DEVICE) -> None:
    """Give the device its IPv6 address. LinuxError where the host has IPv6 switched off."""
    _, six = hop_addresses(number)
    await ip_batch([("address", "replace", f"{six}/128", "dev", name, "nodad")])
