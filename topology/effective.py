"""What follows from a topology, as ``braid check`` prints it: VIPs, disjoint paths, source addresses, warnings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from topology import idle
from topology.content import MEGABYTE
from topology.model import Role, ServiceMode, Topology
from topology.planner import Planner
from topology.policy import TargetLoss, in_words, paths_wanted
from topology.proxy import TLS_SNI
from topology.transfer import KILOBYTE, ProxyPolicy, TransferMode
from topology.why import why

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from topology.transfer import Conditions


Row = tuple[str | int | float, ...]

HARD_TARGET = 1e-5
PROOF = 5e-3
"""Packets per second times target loss: with less, counts fade before they are enough to prove it."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def as_text(topology: Topology, more: Iterable[str] = ()) -> str:
    """Tables in columns, then the warnings, and ``more`` of them; no final line end."""
    counts = f"regions {len(topology.regions)}, nodes {len(topology.nodes)}, applications {len(topology.applications)}"
    parts = [f"{topology.name}: valid; {counts}, zone {topology.zone.name}"]
    parts += [_columns(table) for table in tables(topology) if table.rows]
    parts += [f"warning: {warning}" for warning in (*warnings(topology), *more)]
    return "\n\n".join(parts)


def as_json(topology: Topology, more: Iterable[str] = ()) -> str:
    """The same as one object: name, zone, one list of objects per table, warnings."""
    document: dict[str, Any] = {"name": topology.name, "zone": topology.zone.name}
    for table in tables(topology):
        document[table.title.replace(" ", "_")] = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    document["warnings"] = [*warnings(topology), *more]
    return json.dumps(document, indent=2)


def tables(topology: Topology) -> tuple[Table, ...]:
    return (
        Table("nodes", ("node", "number", "role", "region", "underlay", "port", "status"), tuple(_nodes(topology))),
        Table("edges", ("edge", "weight", "capacity", "location", "serves"), tuple(_edges(topology))),
        Table("vips", ("edge", "application", "address", "hostnames"), tuple(_vips(topology))),
        Table("proxies", ("application", "kind", "policy", "rules", "client address"), tuple(_proxies(topology))),
        Table("content", ("node", "listen", "applications", "edges", "size MB"), tuple(_content(topology))),
        Table("transfers", ("application", "proxies", "policy", "conditions"), tuple(_transfers(topology))),
        Table("drains", ("gateway", "to", "routed", "until"), tuple(_drains(topology))),
        Table("disjoint paths", ("edge", "gateway", "path", "cost", "intermediates", "why"), tuple(_paths(topology))),
        Table("redundancy", ("application", "policy", "disjoint paths"), tuple(_redundancy(topology))),
        Table("snat pools", ("gateway", "pool", "addresses"), tuple(_snat(topology))),
    )


def warnings(topology: Topology) -> Iterator[str]:
    """What is allowed but hardly meant. One sentence each, with the keys concerned."""
    if not topology.by_role(Role.DNS):
        yield "no node has the role dns: nothing answers for the hostnames"
    if not topology.applications:
        yield "no applications: nothing is carried"
    for node in topology.nodes.values():
        if node.status.host.is_unspecified:
            yield f"nodes.{node.name}.status: open on every address of the machine, and it has no login"
    if topology.dns.geo_database:
        for name in _regions(topology, Role.EDGE):
            if topology.regions[name].location is None:
                yield f"regions.{name}.location: missing; where its nodes are a choice, dns.geo_database does not count"
    yield from _unshared_cookies(topology)
    yield from idle.warnings(topology)
    planner = Planner(topology)
    for application in topology.applications.values():
        key = f"applications.{application.name}"
        policy = application.redundancy
        name = "min_copies" if isinstance(policy, TargetLoss) else "copies"
        if isinstance(policy, TargetLoss) and policy.target <= HARD_TARGET:
            least = PROOF / policy.target
            yield f"{key}.target_loss: {policy.target:g} cannot be proved with less than {least:.0f} packets per second"
        if application.copies == 1:
            yield f"{key}.{name}: 1 copy, so every loss and failure of a path is felt"
            continue
        for edge in _regions(topology, Role.EDGE):
            for gateway in application.gateways:
                chosen = planner.choose(edge, gateway, application.copies)
                asked = f"{key}.{name}: {application.copies} are asked for, {edge} to {gateway} has"
                if chosen.overlap:
                    yield f"{asked} only paths that share {', '.join(chosen.overlap)}"
                elif (possible := len(chosen.paths)) < application.copies:
                    yield f"{asked} {possible} disjoint {'path' if possible == 1 else 'paths'}"


def _unshared_cookies(topology: Topology) -> Iterator[str]:
    fast = [each for each in topology.applications.values() if each.mode is ServiceMode.FAST_PATH]
    for region in dict.fromkeys(name for application in fast for name in application.gateways):
        if not topology.regions[region].cookie_secret and len(topology.nodes_of(region)) > 1:
            yield (
                f"regions.{region}: without cookie_secret its gateways do not know each other's SYN cookies; "
                "a connection whose gateway changes in the handshake is reset"
            )


def most_copies(topology: Topology, gateway: str) -> int:
    """Of all applications behind a gateway region."""
    return max(
        (application.copies for application in topology.applications.values() if gateway in application.gateways),
        default=0,
    )


def _nodes(topology: Topology) -> Iterator[Row]:
    for node in topology.nodes.values():
        underlay = " ".join(str(address) for address in node.underlay)
        yield node.name, node.number, node.role, node.region, underlay, node.port, str(node.status)


def _edges(topology: Topology) -> Iterator[Row]:
    """How DNS names them."""
    for node in topology.by_role(Role.EDGE):
        capacity = "-" if node.capacity is None else f"{node.capacity} Mbit/s"
        location = topology.regions[node.region].location
        serves = " ".join(str(prefix) for prefix in node.serves) or "everybody"
        yield node.name, node.weight, capacity, "-" if location is None else str(location), serves


def _vips(topology: Topology) -> Iterator[Row]:
    for vip in topology.vips:
        hostnames = " ".join(topology.applications[vip.application].hostnames)
        yield vip.edge, vip.application, str(vip.address), hostnames


def _proxies(topology: Topology) -> Iterator[Row]:
    for application in topology.applications.values():
        if (proxy := application.proxy) is not None:
            sticky = "" if proxy.sticky == "none" else f", sticky by {proxy.sticky}"
            yield application.name, proxy.kind, f"{proxy.policy}{sticky}", len(proxy.rules), proxy.client_address


def _content(topology: Topology) -> Iterator[Row]:
    for node in topology.nodes.values():
        if (content := node.content) is not None:
            tls = (f"{address} (TLS)" for address in content.tls_listen)
            listen = " ".join((*(str(address) for address in content.listen), *tls))
            size = content.size // MEGABYTE
            yield node.name, listen, " ".join(content.applications), " ".join(content.edges), size


def _transfers(topology: Topology) -> Iterator[Row]:
    for row in topology.transfers:
        proxy = topology.applications[row.application].proxy
        words = [
            *(f"clients {prefix}" for prefix in row.clients),
            *(f"edges {region}" for region in row.edges),
            *(f"port {each}" for each in row.ports),
            "TLS" if proxy is not None and proxy.kind == TLS_SNI else " ".join(row.methods),
            *(["all of it"] if row.mode is TransferMode.SERVE else []),
            *(f"name {name}" for name in row.sni),
            *(f"protocol {word}" for word in row.alpn),
            *(f"host {host}" for host in row.hosts),
            *([f"path {row.path}"] if row.path else []),
            *([f"from {row.least // KILOBYTE} kB"] if row.least else []),
            *_conditions(row.connection),
            *([] if row.until is None else [f"until {_moment(row.until)}"]),
        ]
        policy = f"{row.policy} {row.hash}" if row.policy is ProxyPolicy.HASH else row.policy
        yield row.application, " ".join(row.proxies), policy, ", ".join(words)


def _drains(topology: Topology) -> Iterator[Row]:
    for row in topology.drains:
        yield row.gateway, row.to, "yes" if row.routed else "no", "" if row.until is None else _moment(row.until)


def _moment(wall: float) -> str:
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _conditions(found: Conditions | None) -> Iterator[str]:
    if found is None:
        return
    if found.least_requests:
        yield f"from request {found.least_requests}"
    for word, least, most in (
        ("received", found.least_received, found.most_received),
        ("sent", found.least_sent, found.most_sent),
        ("window", found.least_window, None),
    ):
        if least:
            yield f"{word} from {least // KILOBYTE} kB"
        if most is not None:
            yield f"{word} up to {most // KILOBYTE} kB"


def _paths(topology: Topology) -> Iterator[Row]:
    planner = Planner(topology)
    for edge in _regions(topology, Role.EDGE):
        for gateway in _regions(topology, Role.GATEWAY):
            copies = most_copies(topology, gateway)
            for position, path in enumerate(planner.choose(edge, gateway, copies).paths):
                reason = why(planner, edge, gateway, copies) if position == 0 else ""
                yield edge, gateway, position, path.cost, " ".join(path.regions), reason


def _redundancy(topology: Topology) -> Iterator[Row]:
    """How many paths without anything in common the worst pair of ends has, of those that are asked for at most."""
    planner = Planner(topology)
    for application in topology.applications.values():
        most = paths_wanted(application.redundancy)
        ends = [(edge, gateway) for edge in _regions(topology, Role.EDGE) for gateway in application.gateways]
        least = min((_disjoint(planner, edge, gateway, most) for edge, gateway in ends), default=0)
        yield application.name, in_words(application.redundancy), f"{least} of {most}"


def _disjoint(planner: Planner, edge: str, gateway: str, most: int) -> int:
    for count in range(most, 1, -1):
        chosen = planner.choose(edge, gateway, count)
        if len(chosen.paths) == count and not chosen.overlap:
            return count
    return len(planner.choose(edge, gateway, 1).paths)


def _snat(topology: Topology) -> Iterator[Row]:
    for node in topology.by_role(Role.GATEWAY):
        for pool in node.snat_pools:
            yield node.name, str(pool), pool.num_addresses


def _regions(topology: Topology, role: Role) -> list[str]:
    return [region.name for region in topology.regions.values() if region.role is role]


def _columns(table: Table) -> str:
    rows = [table.columns, *(tuple(_cell(value) for value in row) for row in table.rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([table.title.upper(), *(f"  {line}" for line in lines)])


def _cell(value: str | float) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
