"""The node's status as Prometheus metrics; names and labels are documented in docs/metrics.md.

Labels are bounded by the topology: names of nodes, applications and regions, and the reasons the core knows.
No client address is ever a label.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from braid.status.families import counter, gauge
from braid.status.metrics_content import content
from braid.status.metrics_dns import dns
from braid.status.metrics_drain import drains
from braid.status.metrics_health import health
from braid.status.metrics_proxy import proxies
from braid.status.metrics_transfers import transfers
from braid.status.redundancy import redundancy_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from braid.status.flow import FastPathStatus
    from braid.status.snapshot import NodeStatus

CONTENT_TYPE = CONTENT_TYPE_LATEST

# Core counter -> (metric without "_total", help)
IO_COUNTERS = {
    "tun_rx_packets": ("braid_tun_received_packets", "Packets read from the TUN device"),
    "tun_rx_bytes": ("braid_tun_received_bytes", "Bytes read from the TUN device"),
    "tun_tx_packets": ("braid_tun_sent_packets", "Packets written to the TUN device"),
    "tun_tx_bytes": ("braid_tun_sent_bytes", "Bytes written to the TUN device"),
    "handed_over": ("braid_tun_handed_over_packets", "Packets read from the TUN device by a shard for another one"),
    "tun_tx_errors": ("braid_tun_send_errors", "Failed writes to the TUN device"),
    "udp_rx_datagrams": ("braid_udp_received_datagrams", "Datagrams received from the underlay"),
    "udp_rx_bytes": ("braid_udp_received_bytes", "Bytes received from the underlay"),
    "udp_rx_batches": ("braid_udp_received_batches", "Receive calls or coalesced batches from the underlay"),
    "udp_tx_datagrams": ("braid_udp_sent_datagrams", "Datagrams sent to the underlay"),
    "udp_tx_bytes": ("braid_udp_sent_bytes", "Bytes sent to the underlay"),
    "udp_tx_batches": ("braid_udp_sent_batches", "Send calls or segmented batches to the underlay"),
    "udp_tx_errors": ("braid_udp_send_errors", "Failed sends to the underlay"),
    "rxq_overflow": ("braid_udp_receive_queue_overflows", "Datagrams the kernel dropped before the node read them"),
}

# IEEE 802.1CB name -> (metric without "_total", help)
RECOVERY_COUNTERS = {
    "passed": ("braid_sequence_recovery_passed_packets", "First copies kept"),
    "discarded": ("braid_sequence_recovery_discarded_packets", "Later copies eliminated"),
    "out_of_order": ("braid_sequence_recovery_out_of_order_packets", "Packets kept that came behind a later one"),
    "rogue": ("braid_sequence_recovery_rogue_packets", "Packets outside the recovery window"),
    "lost": ("braid_sequence_recovery_lost_packets", "Sequence numbers of which no copy came"),
    "tagless": ("braid_sequence_recovery_tagless_packets", "Packets without a sequence number"),
    "resets": ("braid_sequence_recovery_resets", "Resets of the recovery function"),
    "latent_errors": ("braid_sequence_recovery_latent_errors", "Periods in which a path in use brought nothing"),
}


def registry(snapshot: Callable[[], NodeStatus]) -> CollectorRegistry:
    """A registry of its own that reads ``snapshot`` at each scrape, with the process's memory, CPU and descriptors."""
    made = CollectorRegistry(auto_describe=False)
    made.register(StatusCollector(snapshot))
    ProcessCollector(registry=made)
    return made


def exposition(source: CollectorRegistry) -> bytes:
    return generate_latest(source)


class StatusCollector(Collector):
    def __init__(self, snapshot: Callable[[], NodeStatus]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        status = self._snapshot()
        yield from _node(status)
        yield from _neighbours(status)
        yield from _sessions(status)
        yield from _paths(status)
        yield from _applications(status)
        yield from redundancy_metrics(status.redundancy)
        yield from _gateway(status)
        yield from proxies(status)
        if status.role == "dns":
            yield from dns(status)
        yield from content(status)
        yield from transfers(status)
        yield from drains(status)
        yield from _io(status)
        yield from health(status)


def _node(status: NodeStatus) -> Iterator[Metric]:
    topology = status.topology
    yield gauge(
        "braid_node_info",
        "Always 1; says who this is",
        ("node", "role", "region", "place", "version"),
        [((status.name, status.role, status.region, status.place, status.version), 1)],
    )
    yield gauge("braid_start_time_seconds", "Start of the node, Unix time", (), [((), status.started_at)])
    yield gauge("braid_ready", "1 when every check is ok", (), [((), status.ready)])
    yield gauge("braid_check_ok", "1 when the check is ok", ("check",), [((c.name,), c.ok) for c in status.checks])
    yield gauge(
        "braid_topology_info",
        "Always 1; the topology in use",
        ("name", "revision"),
        [((topology.name, topology.revision), 1)],
    )
    yield gauge("braid_topology_loaded_timestamp_seconds", "When it was loaded", (), [((), topology.loaded_at)])
    yield gauge(
        "braid_topology_reload_failed",
        "1 while the newest topology file is refused and the last known good one is in use",
        (),
        [((), topology.reload_error is not None)],
    )


def _neighbours(status: NodeStatus) -> Iterator[Metric]:
    label = ("neighbour",)
    items = status.neighbours
    yield gauge("braid_neighbour_up", "1 while valid packets arrive", label, [((n.node,), n.up) for n in items])
    yield gauge(
        "braid_neighbour_rtt_seconds",
        "Round-trip time of the last probe",
        label,
        [((n.node,), n.rtt_ms / 1000) for n in items if n.rtt_ms is not None],
    )
    yield counter(
        "braid_neighbour_sent_datagrams", "Datagrams sent", label, [((n.node,), n.tx_datagrams) for n in items]
    )
    yield counter(
        "braid_neighbour_received_datagrams", "Datagrams received", label, [((n.node,), n.rx_datagrams) for n in items]
    )


def _sessions(status: NodeStatus) -> Iterator[Metric]:
    labels = ("peer", "kind")
    items = [((s.peer, "hop" if s.adjacent else "end_to_end"), s) for s in status.sessions]
    yield gauge("braid_session_usable", "1 while packets can be sealed", labels, [(k, s.usable) for k, s in items])
    yield gauge("braid_session_age_seconds", "Age of the current keys", labels, [(k, s.age_s) for k, s in items])
    yield counter(
        "braid_session_sent_packets",
        "Packets sealed, counted once per packet",
        labels,
        [(k, s.tx_packets) for k, s in items],
    )
    yield counter(
        "braid_session_sent_bytes", "Bytes sealed, counted once per packet", labels, [(k, s.tx_bytes) for k, s in items]
    )
    recoveries = [((s.peer,), s.recovery) for s in status.sessions if s.recovery is not None and not s.adjacent]
    ends = [((s.peer,), s) for s in status.sessions if not s.adjacent]
    yield gauge(
        "braid_session_skew_seconds", "Longest wait between copies", ("peer",), [(k, s.skew_ms / 1000) for k, s in ends]
    )
    yield counter("braid_session_late_packets", "Delivered out of order", ("peer",), [(k, s.late) for k, s in ends])
    for name, (metric, text) in RECOVERY_COUNTERS.items():
        yield counter(metric, text, ("peer",), [(key, getattr(item, name)) for key, item in recoveries])
    windows = [((s.peer,), s.window) for s in status.sessions if s.window is not None and s.window.packets is not None]
    for name, text, value in (
        ("packets", "Packets among which copies are told apart", attrgetter("packets")),
        ("bytes", "Memory of the recovery window", attrgetter("bytes")),
        ("margin_ratio", "Least share of the window that was free lately", attrgetter("margin")),
        ("capped", "1 while the window should be larger than it may be", attrgetter("capped")),
    ):
        yield gauge(f"braid_sequence_recovery_window_{name}", text, ("peer",), [(k, value(w)) for k, w in windows])


def _paths(status: NodeStatus) -> Iterator[Metric]:
    labels = ("peer", "path", "regions")
    items = [((p.peer, str(p.id), ">".join(p.regions)), p) for p in status.paths]
    yield gauge(
        "braid_path_in_use", "1 while the path is among those chosen", labels, [(k, p.in_use) for k, p in items]
    )
    yield gauge("braid_path_up", "1 while the path is usable", labels, [(k, p.up) for k, p in items])
    yield gauge(
        "braid_path_rtt_seconds",
        "Round-trip time of the whole path, where measured",
        labels,
        [(k, p.rtt_ms / 1000) for k, p in items if p.rtt_ms is not None],
    )
    yield counter("braid_path_sent_copies", "Copies sent on the path", labels, [(k, p.copies_sent) for k, p in items])
    yield counter("braid_path_sent_bytes", "Bytes sent on the path", labels, [(k, p.bytes_sent) for k, p in items])
    yield counter(
        "braid_path_unsent_copies", "Copies that could not be sent", labels, [(k, p.unsent) for k, p in items]
    )
    received = [((r.peer, str(r.id), r.via), r) for r in status.received]
    labels = ("peer", "path", "via")
    yield counter(
        "braid_path_kept_copies", "Copies received first and kept", labels, [(k, r.kept) for k, r in received]
    )
    yield counter(
        "braid_path_eliminated_copies",
        "Copies received later and dropped",
        labels,
        [(k, r.eliminated) for k, r in received],
    )
    yield counter(
        "braid_path_reordered_copies",
        "Copies received behind a later one of the same path",
        labels,
        [(k, r.reordered) for k, r in received],
    )


def _applications(status: NodeStatus) -> Iterator[Metric]:
    label = ("application",)
    if status.role == "edge":
        items = [((a.name,), a) for a in status.applications]
        yield gauge(
            "braid_application_copies_wanted",
            "Copies of each packet by policy",
            label,
            [(k, a.copies_wanted) for k, a in items],
        )
        yield gauge(
            "braid_application_copies_usable",
            "Disjoint paths usable now",
            label,
            [(k, a.copies_usable) for k, a in items],
        )
    if status.role == "gateway":
        yield gauge(
            "braid_application_flows",
            "Flows in the NAT table",
            label,
            [((a.name,), a.flows) for a in status.applications],
        )
        yield gauge(
            "braid_target_healthy",
            "1 while the target passes its check, or has none",
            ("application", "target"),
            [
                ((a.name, t.address if t.port is None else f"{t.address} port {t.port}"), t.healthy)
                for a in status.applications
                for t in a.targets
            ],
        )


def _gateway(status: NodeStatus) -> Iterator[Metric]:
    if status.nat is not None:
        nat = status.nat
        yield gauge("braid_nat_flows", "Flows in the NAT table", (), [((), nat.flows)])
        yield counter("braid_nat_created_flows", "Flows created", (), [((), nat.created)])
        yield counter("braid_nat_expired_flows", "Flows that timed out", (), [((), nat.expired)])
        yield counter(
            "braid_nat_ports_exhausted", "Flows refused: no free source port", (), [((), nat.ports_exhausted)]
        )
        yield counter("braid_nat_table_full", "Flows refused: the table is full", (), [((), nat.table_full)])
    if status.fast_path is not None:
        yield from _fast_path(status.fast_path)
    if status.relay is not None:
        yield counter("braid_relay_forwarded_datagrams", "Datagrams handed on", (), [((), status.relay.forwarded)])
        yield gauge("braid_relay_streams", "Replay windows kept", (), [((), status.relay.streams)])


def _io(status: NodeStatus) -> Iterator[Metric]:
    yield counter(
        "braid_dropped_packets", "Packets dropped, by reason", ("reason",), [((k,), v) for k, v in status.drops.items()]
    )
    for unit in ("datagrams", "bytes"):
        sent = [((), status.probing.get(unit, 0))]
        yield counter(f"braid_probe_{unit}", f"Probes of links and paths sent, in {unit}", (), sent)
    yield counter("braid_fragmented_packets", "Packets cut for paths that carry less", (), [((), status.fragmented)])
    for name, (metric, text) in IO_COUNTERS.items():
        if name in status.io:
            yield counter(metric, text, (), [((), status.io[name])])
    offload = status.offload
    yield gauge(
        "braid_offload_active",
        "1 while the kernel offload is in use",
        ("kind",),
        [((kind,), getattr(offload, kind)) for kind in ("udp_gso", "udp_gro", "tun_tso", "tun_uso")],
    )
    yield counter("braid_offload_fallbacks", "Batches sent again without offload", (), [((), offload.fallbacks)])
    yield gauge(
        "braid_udp_gso_refusing_destinations",
        "Destinations whose path refused batches lately",
        (),
        [((), len(status.kernel.without_gso))],
    )


def _fast_path(fast: FastPathStatus) -> Iterator[Metric]:
    yield gauge("braid_fast_path_sessions", "Connections with records", (), [((), fast.sessions)])
    yield counter("braid_fast_path_cookies_sent", "SYNs answered by cookie", (), [((), fast.cookies_sent)])
    yield counter("braid_fast_path_cookies_valid", "Cookies that came back", (), [((), fast.cookies_valid)])
    yield counter("braid_fast_path_established", "Connections whose server answered", (), [((), fast.established)])
    yield counter("braid_fast_path_held_segments", "Segments kept until the server answered", (), [((), fast.held)])
    yield counter("braid_fast_path_syn_retransmitted", "SYNs sent to servers again", (), [((), fast.syn_retransmitted)])
    yield counter(
        "braid_fast_path_replies_suppressed", "Answers not sent: rate limit", (), [((), fast.replies_suppressed)]
    )
    for name, text, count in (
        ("service_requests", "Proxied connections that the stack was asked to take", fast.service_requests),
        ("taken", "Proxied connections that the stack took", fast.taken),
        ("spliced", "Proxied connections that the stack gave back", fast.spliced),
        ("parked", "Proxied connections that it gave back between two requests", fast.parked),
        ("again", "Spliced connections that the stack was asked to take again", fast.again),
        ("residual_resent", "Segments of frozen sockets sent again", fast.residual_resent),
    ):
        yield counter(f"braid_fast_path_{name}", text, (), [((), count)])
    yield gauge("braid_fast_path_held_now", "Segments that wait for stack or server", (), [((), fast.held_now)])
    yield gauge(
        "braid_fast_path_residual_bytes", "Bytes of frozen sockets to be acknowledged", (), [((), fast.residual_bytes)]
    )
