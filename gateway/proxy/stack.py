"""The gateway's own TCP stack: VIPs of proxied applications are local addresses of the node.

What comes out of the overlay for such a VIP is delivered locally; what the stack sends from a VIP goes back into the
overlay, whatever the client's address is. So it is with the SNAT pools, from which connections to servers start: the
core sees their packets both ways, and gives them back for the network or for the stack. Routes carry a protocol number
of ours and rules a priority of ours, so what a crash left is found and replaced. The first half of this file decides,
the second acts.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.linux import LinuxError, Setting, apply_settings, ip, ip_batch, read_setting
from braid.tun import DEVICE
from gateway.nat import transparent
from topology.model import Role, ServiceMode, SocketAddress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from topology.model import Application, IPAddress, IPNetwork, Topology

PROTOCOL = "187"
"""Of our routes; a number that iproute2 gives no name (rt_protos)."""
TABLE = "7400"
"""Into the overlay."""
TABLE_LOCAL = "7401"
"""To the stack."""
PRIORITY = "7400"
FIRST_SEGMENTS = "30"
"""Room that a server is promised at first, 40 KB: less than clients have (Linux 64,240 bytes), so that a connection
which goes back to the data plane at the head of an answer has room for all that was promised."""
BACKLOG = 1024
RP_FILTER = "rp_filter"
IPV6_FREEBIND = 78
"""linux/in6.h"""


@dataclass(frozen=True, slots=True)
class Local:
    """What the kernel is told."""

    vips: frozenset[IPAddress] = frozenset()
    pools: frozenset[IPNetwork] = frozenset()
    """Packets that leave this node from an address in them go into the overlay."""
    snat: frozenset[IPNetwork] = frozenset()
    """The same, and packets to them that come out of the overlay are for the stack."""
    servers: frozenset[IPAddress] = frozenset()
    """They see clients' own addresses: all that they send through this node is an answer."""


def local(
    topology: Topology, node: str, applications: Collection[Application], guests: Collection[IPNetwork] = ()
) -> Local:
    """``guests``: pools of another gateway whose connections are here."""
    names = {each.name for each in applications if each.mode is ServiceMode.PROXY}
    vips = frozenset(vip.address for vip in topology.vips if vip.application in names)
    pools = (pool for edge in topology.by_role(Role.EDGE) for pool in edge.vip_pools)
    snat = frozenset((*topology.nodes[node].snat_pools, *guests) if vips else ())
    servers = frozenset(server for each in applications if each.name in names for server in transparent(each))
    return Local(vips, frozenset(pool for pool in pools if any(_holds(pool, vip) for vip in vips)), snat, servers)


def _holds(pool: IPNetwork, address: IPAddress) -> bool:
    return pool.version == address.version and address in pool


def listeners(topology: Topology, application: Application) -> tuple[SocketAddress, ...]:
    """Where connections of a proxied application arrive."""
    ports = [port for each in application.ports if each.protocol == "tcp" for port in range(each.low, each.high + 1)]
    vips = [vip.address for vip in topology.vips if vip.application == application.name]
    return tuple(SocketAddress(vip, port) for vip in vips for port in ports)


def changes(before: Local, after: Local, version: int) -> list[tuple[str, ...]]:
    """``ip`` commands of one IP version, additions first."""

    def these(words: frozenset[IPAddress] | frozenset[IPNetwork]) -> list[str]:
        return sorted(str(word) for word in words if word.version == version)

    def rule(verb: str, pool: str) -> tuple[str, ...]:
        return "rule", verb, "iif", "lo", "from", pool, "lookup", TABLE, "priority", PRIORITY

    def inward(verb: str, pool: str) -> tuple[str, ...]:
        return "rule", verb, "iif", DEVICE, "to", pool, "lookup", TABLE_LOCAL, "priority", PRIORITY

    def answers(verb: str, server: str) -> Iterator[tuple[str, ...]]:
        """In this order: out of the overlay to the stack, else into the overlay; and what the stack sends it."""
        end = "priority", PRIORITY
        yield "rule", verb, "iif", DEVICE, "from", server, "lookup", TABLE_LOCAL, *end
        yield "rule", verb, "from", server, "lookup", TABLE, *end
        yield "rule", verb, "oif", DEVICE, "to", server, "lookup", TABLE, *end

    def vip_route(verb: str, vip: str) -> tuple[str, ...]:
        return "route", verb, "local", vip, "dev", "lo", "table", "local", "proto", PROTOCOL

    def default(verb: str) -> tuple[str, ...]:
        return "route", verb, "default", "dev", DEVICE, "table", TABLE, "proto", PROTOCOL, "initrwnd", FIRST_SEGMENTS

    def stack(verb: str) -> tuple[str, ...]:
        return "route", verb, "local", "default", "dev", "lo", "table", TABLE_LOCAL, "proto", PROTOCOL

    sources = before.pools | before.snat, after.pools | after.snat
    had, has = (bool(these(each)) for each in sources)
    took, takes = bool(these(before.snat)), bool(these(after.snat))
    return [
        *([default("replace")] if has and not had else ()),
        *([stack("replace")] if takes and not took else ()),
        *(rule("add", pool) for pool in these(sources[1] - sources[0])),
        *(inward("add", pool) for pool in these(after.snat - before.snat)),
        *(words for server in these(after.servers - before.servers) for words in answers("add", server)),
        *(vip_route("replace", vip) for vip in these(after.vips - before.vips)),
        *(vip_route("delete", vip) for vip in these(before.vips - after.vips)),
        *(words for server in these(before.servers - after.servers) for words in answers("delete", server)),
        *(inward("delete", pool) for pool in these(before.snat - after.snat)),
        *(rule("delete", pool) for pool in these(sources[0] - sources[1])),
        *([stack("delete")] if took and not takes else ()),
        *([default("delete")] if had and not has else ()),
    ]


async def apply(before: Local, after: Local) -> list[str]:
    """Go over from one to the other; returns warnings. LinuxError when IPv4 cannot be set up."""
    await ip_batch(changes(before, after, 4), family=4)
    warnings = _loosen() if any(server.version == 4 for server in after.servers) else []
    try:
        await ip_batch(changes(before, after, 6), family=6)
    except LinuxError as error:
        warnings.append(f"IPv6 is not available: {error}")
    return warnings


def _loosen() -> list[str]:
    """A strict reverse path filter would refuse what a server sends a client where it comes out of the overlay."""
    loose = Setting(("net", "ipv4", "conf", DEVICE, RP_FILTER), "2", "clients' own addresses are kept towards servers")
    strict = any(read_setting("net", "ipv4", "conf", of, RP_FILTER) == "1" for of in ("all", DEVICE))
    return apply_settings([loose]) if strict else []


async def clear() -> None:
    """Remove all of ours, also what a crash left. In few processes: a node ends within seconds on a busy host, too."""
    for family in (4, 6):
        with suppress(LinuxError):
            shown = await ip(f"-{family}", "rule", "show")
            await ip_batch(removals(shown), go_on=True, family=family)


def removals(rules: str) -> list[tuple[str, ...]]:
    """``ip`` commands that remove ours, where there are these rules; what is not there is no error to who goes on."""
    ours = sum(line.startswith(f"{PRIORITY}:") for line in rules.splitlines())
    return [
        ("route", "flush", "table", "local", "proto", PROTOCOL),
        *(("route", "flush", "table", table) for table in (TABLE, TABLE_LOCAL)),
        *(("rule", "delete", "priority", PRIORITY) for _ in range(ours)),
    ]


def listen(where: SocketAddress, device: str = DEVICE) -> socket.socket:
    """A socket that takes connections to a VIP and port that came through the overlay; non-blocking. OSError if it
    cannot be had."""
    family = socket.AF_INET6 if where.host.version == 6 else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # A local route makes an IPv4 address one's own for bind(2), an IPv6 address not.
            opened.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        if device:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        opened.bind((str(where.host), where.port))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
