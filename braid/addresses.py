"""Addresses that the node answers for without owning them: VIPs of an edge, SNAT pools of a gateway.

Each is routed into the TUN. One that lies inside a prefix of another interface is *on-link*: hosts there ask for it by
ARP or neighbour discovery, so the node answers as a proxy. The first half of this file decides, the second acts.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from braid.linux import LinuxError, Setting, apply_settings, ip, ip_batch
from braid.tun import DEVICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topology.model import IPAddress, IPNetwork

MAX_PROXIES = 4096
"""Per prefix. A larger pool that is on-link has to be routed to the node by the network instead."""


@dataclass(frozen=True, slots=True)
class Interface:
    name: str
    prefixes: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True)
class Capture:
    """What the kernel has to be told so that packets for some prefixes reach the TUN."""

    routes: tuple[IPNetwork, ...] = ()
    proxies: tuple[tuple[IPAddress, str], ...] = ()
    """Address and the interface on which it is answered for."""
    warnings: tuple[str, ...] = ()


def plan_capture(prefixes: Sequence[IPNetwork], interfaces: Sequence[Interface], device: str = DEVICE) -> Capture:
    proxies: list[tuple[IPAddress, str]] = []
    warnings = []
    for prefix in prefixes:
        on_link = [interface.name for interface in interfaces if interface.name != device and _holds(interface, prefix)]
        if on_link and prefix.num_addresses > MAX_PROXIES:
            warnings.append(
                f"{prefix} lies on the network of {on_link[0]} and is too large to be answered for address by address; "
                "route it to this node, or use a smaller pool"
            )
            continue
        proxies += [(address, name) for name in on_link for address in prefix]
    return Capture(tuple(prefixes), tuple(proxies), tuple(warnings))


def _holds(interface: Interface, prefix: IPNetwork) -> bool:
    return any(
        known.version == prefix.version and known.prefixlen < known.max_prefixlen and prefix.network_address in known
        for known in interface.prefixes
    )


def additions(before: Capture, after: Capture, version: int, device: str = DEVICE) -> list[tuple[str, ...]]:
    """``ip`` commands that add what ``before`` lacks, of one IP version. Harmless where a crash left some of it."""
    routes = [route for route in after.routes if route not in before.routes and route.version == version]
    proxies = [proxy for proxy in after.proxies if proxy not in before.proxies and proxy[0].version == version]
    return [("route", "replace", str(route), "dev", device) for route in routes] + [
        ("neighbour", "replace", "proxy", str(address), "dev", name) for address, name in proxies
    ]


def removals(before: Capture, after: Capture, device: str = DEVICE) -> list[tuple[str, ...]]:
    proxies = [proxy for proxy in before.proxies if proxy not in after.proxies]
    routes = [route for route in before.routes if route not in after.routes]
    return [("neighbour", "delete", "proxy", str(address), "dev", name) for address, name in proxies] + [
        ("route", "delete", str(route), "dev", device) for route in routes
    ]


def settings_for(capture: Capture) -> tuple[Setting, ...]:
    """Kernel settings without which the captured packets would not arrive or not leave."""
    forward = "the kernel forwards between its networks and the overlay"
    proxy = "hosts on this network ask for addresses of the overlay"
    found: list[Setting] = []
    if any(route.version == 4 for route in capture.routes):
        found.append(Setting(("net", "ipv4", "ip_forward"), "1", forward))
    if any(route.version == 6 for route in capture.routes):
        found.append(Setting(("net", "ipv6", "conf", "all", "forwarding"), "1", forward))
    for version, name in sorted({(address.version, name) for address, name in capture.proxies}):
        found.append(Setting(("net", f"ipv{version}", "neigh", name, "proxy_delay"), "0", proxy))
        if version == 6:
            found.append(Setting(("net", "ipv6", "conf", name, "proxy_ndp"), "1", proxy))
    return tuple(found)


async def read_interfaces() -> tuple[Interface, ...]:
    """All interfaces with the prefixes on their links."""
    return parse_interfaces(json.loads(await ip("-json", "address", "show")))


def parse_interfaces(listed: list[dict[str, Any]]) -> tuple[Interface, ...]:
    """From the output of ``ip -json address show``; link-local prefixes and the loopback interface are left out."""
    return tuple(
        Interface(
            link["ifname"],
            tuple(
                ip_interface(f"{address['local']}/{address['prefixlen']}").network
                for address in link.get("addr_info", ())
                if "local" in address and address.get("scope") == "global"
            ),
        )
        for link in listed
        if link.get("ifname") and "LOOPBACK" not in link.get("flags", ())
    )


async def apply_capture(before: Capture, after: Capture) -> list[str]:
    """Add to the kernel what ``before`` lacks. Returns warnings: what stays wrong but lets the node run.

    LinuxError when IPv4 cannot be set up; IPv6 may be switched off on a host, which is a warning.
    """
    warnings = [*after.warnings, *apply_settings(settings_for(after))]
    await ip_batch(additions(before, after, 4))
    try:
        await ip_batch(additions(before, after, 6))
    except LinuxError as error:
        warnings.append(f"IPv6 is not available: {error}")
    return warnings


async def release_capture(before: Capture, after: Capture) -> None:
    """Remove what ``after`` does not need. What is gone already is no error."""
    with suppress(LinuxError):
        await ip_batch(removals(before, after), go_on=True)
