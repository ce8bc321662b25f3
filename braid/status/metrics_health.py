"""Metrics of what a node remembers and measures of paths and neighbours, and of the news from other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.snapshot import NodeStatus


def health(status: NodeStatus) -> Iterator[Metric]:
    """A measurement that was not made has no sample."""
    yield from _paths(status)
    yield from _neighbours(status)
    yield from _sets(status)
    known = [] if status.load is None else [((), status.load)]
    yield gauge("braid_load_ratio", "How busy the data threads are, of the cores that they may use", (), known)
    yield gauge(
        "braid_application_protection_since_timestamp_seconds",
        "Since when the protection is what it is, Unix time",
        ("application",),
        [((item.name,), item.since) for item in status.applications if item.since is not None],
    )
    changes = [(tuple(name.split("/")), count) for name, count in status.change_counts.items()]
    yield counter("braid_changes", "Changes seen, by kind and tone", ("kind", "tone"), changes)
    if status.summaries:
        counts = dict(status.summaries)
        yield gauge("braid_summaries_known_nodes", "Other nodes heard of lately", (), [((), counts.pop("known", 0))])
        yield counter(
            "braid_summaries", "Messages with news of nodes", ("event",), [((key,), n) for key, n in counts.items()]
        )


def _paths(status: NodeStatus) -> Iterator[Metric]:
    labels = ("peer", "path", "regions")
    items = [((path.peer, str(path.id), ">".join(path.regions)), path) for path in status.paths]
    yield gauge("braid_path_silent", "1 while the path delivers nothing", labels, [(k, p.silent) for k, p in items])
    yield gauge(
        "braid_path_state_since_timestamp_seconds",
        "Since when the path's state is what it is, Unix time",
        labels,
        [(key, path.since) for key, path in items if path.since is not None],
    )
    yield counter(
        "braid_path_mtu_probe_bytes",
        "Bytes of probes of what the path carries",
        labels,
        [(key, path.mtu_probe_bytes) for key, path in items],
    )
    yield gauge(
        "braid_path_set_mtu_bytes",
        "Largest packet that all paths carry which packets on this set take",
        ("peer", "set"),
        [((item.peer, str(item.number)), item.mtu) for item in status.path_sets],
    )
    yield counter(
        "braid_path_loss_bursts",
        "Times that one or more probes in a row were lost",
        labels,
        [(key, path.loss_bursts) for key, path in items],
    )
    for name, text, field, unit in (
        ("braid_path_mtu_bytes", "Largest packet that the path carries, where known", "mtu", 1),
        ("braid_path_one_way_seconds", "Delay to the other end, where measured", "one_way_ms", 1000),
        ("braid_path_jitter_seconds", "Variation of the delay, where measured", "jitter_ms", 1000),
        ("braid_path_loss_ratio", "Share of copies lost on the path, where measured", "loss", 1),
        ("braid_path_loss_burst_probes", "Mean number of probes lost in a row, where some were", "loss_burst", 1),
    ):
        known = [(key, getattr(path, field)) for key, path in items]
        yield gauge(name, text, labels, [(key, value / unit) for key, value in known if value is not None])
    yield gauge(
        "braid_path_first_copy_ratio",
        "Share of the peer's first copies of the last minute that came over this path",
        ("peer", "path", "via"),
        [((r.peer, str(r.id), r.via), r.first_share) for r in status.received if r.first_share is not None],
    )


def _sets(status: NodeStatus) -> Iterator[Metric]:
    items = [((item.peer, str(item.number)), item) for item in status.path_sets if item.joint_probes]
    for name, text, field in (
        ("braid_path_set_joint_probes", "Probes of the last ten minutes on all paths of the set", "joint_probes"),
        ("braid_path_set_joint_lost_probes", "Of these, probes lost on all paths", "joint_lost"),
    ):
        yield gauge(name, text, ("peer", "set"), [(key, getattr(item, field)) for key, item in items])


def _neighbours(status: NodeStatus) -> Iterator[Metric]:
    label = ("neighbour",)
    items = status.neighbours
    yield gauge(
        "braid_neighbour_state_since_timestamp_seconds",
        "Since when the neighbour is up or down, Unix time",
        label,
        [((item.node,), item.since) for item in items if item.since is not None],
    )
    yield gauge(
        "braid_neighbour_jitter_seconds",
        "Variation of the round trip, where measured",
        label,
        [((item.node,), item.jitter_ms / 1000) for item in items if item.jitter_ms is not None],
    )
    yield gauge(
        "braid_neighbour_loss_ratio",
        "Share of datagrams lost, where measured",
        label,
        [((item.node,), item.loss) for item in items if item.loss is not None],
    )
