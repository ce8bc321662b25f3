"""Metrics of a DNS node: what it answered, and by what it steers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.families import counter, gauge, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.families import Sample
    from braid.status.snapshot import NodeStatus

# First part of the DNS node's counter -> (metric without "_total", help, labels)
DNS_COUNTERS = {
    "queries": ("braid_dns_queries", "Queries answered", ("transport", "family", "type", "rcode")),
    "responses": ("braid_dns_responses", "Queries answered, by the zone that they are in", ("zone", "rcode")),
    "answers": ("braid_dns_answers", "VIPs given, by the edge that holds them", ("application", "edge")),
    "faults": ("braid_dns_faulty_queries", "Queries answered with an error of the gate", ("reason",)),
    "bytes": ("braid_dns_bytes", "Bytes of queries and answers", ("direction", "transport")),
    "switches": ("braid_dns_switches", "Changes that move clients, by why", ("application", "reason")),
    "drops": ("braid_dns_dropped_queries", "Queries not answered", ("reason",)),
    "decisions": ("braid_dns_decisions", "Steered answers, by why this edge", ("reason",)),
    "limited": ("braid_dns_limited_answers", "Answers held back by the rate limit", ("action",)),
    "subnets": ("braid_dns_client_subnet_queries", "Queries with a client prefix", ("family",)),
    "closed": ("braid_dns_tcp_connections_closed", "TCP connections ended", ("reason",)),
    "powerdns": ("braid_dns_powerdns_calls", "Calls of an operator's PowerDNS", ("method",)),
    "cookies": ("braid_dns_cookie_queries", "Queries with a DNS cookie, by what it was worth", ("result",)),
}

# The same for what is now -> (metric, help, labels, unit of the counter)
DNS_GAUGES = {
    "standings": (
        "braid_dns_edge_standing",
        "0 well, 1 well again, 2 too few paths, 3 full, 4 draining, 5 down",
        ("application", "edge"),
        1,
    ),
    "delays": (
        "braid_dns_edge_delay_seconds",
        "Round trip behind the edge that answers follow",
        ("application", "edge"),
        1e-6,
    ),
    "loads": ("braid_dns_edge_load_ratio", "What the edge carries of what it can", ("edge",), 1e-3),
    "spills": ("braid_dns_edge_spill_ratio", "Share of its clients that get another edge", ("edge",), 1e-3),
    "drained": ("braid_dns_edge_drained", "1 while an operator keeps new clients away", ("edge",), 1),
}
DNS_SINGLE_GAUGES = {
    "stale": ("braid_dns_stale", "1 while no edge is heard"),
    "connections": ("braid_dns_tcp_connections", "TCP connections open"),
    "view_generation": ("braid_dns_view_generation", "Number of the state that is answered from"),
    "view_age": ("braid_dns_view_age_seconds", "Since when that is the same"),
}


def dns(status: NodeStatus) -> Iterator[Metric]:
    """A DNS node's counters are named ``family/label/label`` or by one word."""
    named: dict[str, list[Sample]] = {}
    for name, value in status.dns.items():
        family, *parts = name.split("/")
        named.setdefault(family if parts else "", []).append((tuple(parts or [family]), value))
    single = {labels[0]: value for labels, value in named.get("", ())}
    for family, (metric, text, labels) in DNS_COUNTERS.items():
        yield counter(metric, text, labels, [item for item in named.get(family, ()) if len(item[0]) == len(labels)])
    busy = [(names, value * 1e-6) for names, value in named.get("busy_us", ())]
    yield counter("braid_dns_busy_seconds", "Time in which only answers were made", ("transport",), busy)
    transport = ("transport",)
    yield histogram(
        "braid_dns_response_size_bytes",
        "Length of an answer",
        transport,
        named.get("sizes", ()),
        {names[1:]: value for names, value in named.get("bytes", ()) if names[0] == "sent"},
    )
    yield histogram(
        "braid_dns_request_duration_seconds",
        "From the reading of a query to its answer, which it has together with others",
        transport,
        [((*own, str(float(bound) * 1e-6)), n) for (*own, bound), n in named.get("durations", ())],
        {names: value * 1e-6 for names, value in named.get("duration_us", ())},
    )
    yield histogram(
        "braid_dns_propagation_seconds",
        "From the news that an edge can do less to answers that follow it",
        ("reason",),
        [((*own, str(float(bound) * 1e-3)), n) for (*own, bound), n in named.get("propagations", ())],
        {names: value * 1e-3 for names, value in named.get("propagation_ms", ())},
    )
    for family, (metric, text, labels, unit) in DNS_GAUGES.items():
        found = [item for item in named.get(family, ()) if len(item[0]) == len(labels)]
        yield gauge(metric, text, labels, [(names, value * unit) for names, value in found])
    for name, (metric, text) in DNS_SINGLE_GAUGES.items():
        if name in single:
            yield gauge(metric, text, (), [((), single.pop(name))])
    yield counter("braid_dns_events", "What else happened", ("event",), [((k,), v) for k, v in single.items()])
