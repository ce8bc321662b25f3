"""What a DNS node shows of itself at ``/dns``: every application with its edges and what they can do. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from dns.client import Client
from dns.explain import explain
from dns.records import asked_name

if TYPE_CHECKING:
    from dns.health import HealthTable
    from dns.view import View


def steering_document(
    view: View, health: HealthTable, drained: frozenset[str], stale_s: float | None, now: float
) -> dict[str, Any]:
    """``stale_s``: seconds since no edge is heard; None while one is."""
    config = view.config
    edges = []
    for edge in config.edges:
        state = health.edge_health(edge.number, now)
        edges.append(
            {
                "edge": edge.name,
                "standing": state.standing.name.lower(),
                "drained": edge.name in drained,
                "heard_ms_ago": None if state.heard_ago is None else round(state.heard_ago * 1000),
                "session_up": state.session_up,
                "weight": edge.weight,
                "load": health.load(edge.number),
                "spill": health.spill(edge.number),
                "location": None if edge.location is None else str(edge.location),
                "serves": [str(prefix) for prefix in edge.serves],
            }
        )
    applications: dict[str, dict[str, Any]] = {}
    for hostname, application in config.hosts.items():
        applications.setdefault(application, _application(view, health, application))["hostnames"].append(hostname)
    return {
        "name": config.node,
        "zone": config.zone.name,
        "stale_s": None if stale_s is None else round(stale_s, 1),
        "geo_database_built": None if view.geo is None else view.geo.built,
        "edges": edges,
        "applications": list(applications.values()),
    }


def explanation(view: View, hostname: str, client: str) -> dict[str, Any]:
    """The decision for a client. ``ValueError`` when one of them is no name or no address."""
    address = ip_address(client)
    return explain(view, asked_name(hostname), Client(address.version, int(address), False))


def _application(view: View, health: HealthTable, application: str) -> dict[str, Any]:
    config = view.config
    edges = []
    for (edge, name), standing in view.standings.items():
        if name != application:
            continue
        report = health.report(config.edges[edge].number, application)
        edges.append(
            {
                "edge": config.edges[edge].name,
                "vips": [str(vip) for vip in config.vips[edge, application]],
                "standing": standing.name.lower(),
                "usable_paths": None if report is None else report.usable,
                "delay_ms": view.delays.get((edge, application)),
                "measured_delay_ms": health.delay(config.edges[edge].number, application),
            }
        )
    return {
        "application": application,
        "hostnames": [],
        "wanted_paths": config.copies.get(application, 1),
        "fallback": "none" if application in config.fail_closed else "all",
        "ttl": config.ttl_degraded if application in view.troubled else config.zone.ttl,
        "edges": edges,
    }
