"""A plan as what makes it: sysctls and ``ip -batch`` lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.plan import Member, Plan, Port

_FORWARDING = frozenset({"edge", "gateway"})


def sysctls(member: Member) -> tuple[tuple[str, str], ...]:
    """Paths below /proc/sys/net, to be written before interfaces exist: they take over ``default``."""
    forwarding = "1" if member.kind in _FORWARDING else "0"
    return (
        *_FOR_ALL,
        ("ipv4/ip_forward", forwarding),
        ("ipv6/conf/all/forwarding", forwarding),
        ("ipv6/conf/default/forwarding", forwarding),
        ("ipv6/conf/all/proxy_ndp", forwarding),
        ("ipv6/conf/default/proxy_ndp", forwarding),
    )


HUB_SYSCTLS = (
    # A cable must not speak: no router solicitations or multicast reports from its ends.
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/ip_forward", "0"),
)
HUB_SYSCTLS_OPTIONAL = tuple(
    (f"bridge/bridge-nf-call-{table}", "0") for table in ("iptables", "ip6tables", "arptables")
)
"""Present only where bridge netfilter is loaded."""

_FOR_ALL = tuple(
    (f"{family}/conf/{place}/{key}", value)
    for family, key, value in (
        ("ipv4", "rp_filter", "0"),
        ("ipv6", "disable_ipv6", "0"),
        ("ipv6", "accept_dad", "0"),
        ("ipv6", "accept_ra", "0"),
        # Multicast reports are over within milliseconds after an interface is up, and in nobody's counters later.
        ("ipv6", "mldv1_unsolicited_report_interval", "1"),
        ("ipv6", "mldv2_unsolicited_report_interval", "1"),
    )
    for place in ("all", "default")
)


def port_sysctls(plan: Plan, member: Member) -> tuple[tuple[str, str], ...]:
    """What has no ``default`` in a namespace: to be written when its interfaces exist, before they are up."""
    return tuple(
        (f"{family}/neigh/{port.interface}/proxy_delay", "0")
        for port in plan.ports_of(member.name)
        for family in ("ipv4", "ipv6")
    )


def hub_commands(plan: Plan) -> tuple[str, ...]:
    """``ip -batch`` lines for the hub: bridges and all cables, whose far ends appear in the members' namespaces."""
    lines: list[str] = []
    for link in plan.links if not plan.direct else ():
        lines += _bridge(link.bridge, link.a.mtu)
        for hub_end, port in ((link.hub_a, link.a), (link.hub_b, link.b)):
            lines += _cable(plan, hub_end, port, link.bridge)
    for segment in plan.segments:
        lines += _bridge(segment.bridge, min((port.mtu for _, port in segment.ports), default=1500))
        for hub_end, port in segment.ports:
            lines += _cable(plan, hub_end, port, segment.bridge)
    return tuple(lines)


def direct_commands(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Per member, the lines that make its plain veth links to neighbours sorted after it; empty unless ``direct``."""
    lines: dict[str, list[str]] = {}
    for link in plan.links if plan.direct else ():
        far = plan.members[link.b.member].namespace
        lines.setdefault(link.a.member, []).append(
            f"link add name {link.a.interface} address {link.a.mac} mtu {link.a.mtu} type veth"
            f" peer name {link.b.interface} address {link.b.mac} mtu {link.b.mtu} netns {far}"
        )
    return {member: tuple(commands) for member, commands in lines.items()}


def member_commands(plan: Plan, member: Member) -> tuple[str, ...]:
    """``ip -batch`` lines for one namespace, after its interfaces exist."""
    lines = ["link set lo up"]
    underlay = {
        link_port.interface for link in plan.links for link_port in (link.a, link.b) if link_port.member == member.name
    }
    for port in plan.ports_of(member.name):
        if port.interface in underlay:
            lines.append(f"link set {port.interface} addrgenmode none")
        lines.extend(
            f"addr add {address} dev {port.interface}" + (" nodad" if ":" in address else "")
            for address in port.addresses
        )
        lines.append(f"link set {port.interface} up")
    return (*lines, *member.routes)


def _bridge(name: str, mtu: int) -> list[str]:
    return [
        f"link add name {name} mtu {mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {name} up",
    ]


def _cable(plan: Plan, hub_end: str, port: Port, bridge: str) -> list[str]:
    namespace = plan.members[port.member].namespace
    return [
        f"link add name {hub_end} mtu {port.mtu} type veth"
        f" peer name {port.interface} address {port.mac} mtu {port.mtu} netns {namespace}",
        f"link set {hub_end} master {bridge} up",
    ]
