"""Metrics of connection transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.durations import every_bucket
from braid.status.families import counter, gauge, histogram

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.snapshot import NodeStatus


def transfers(status: NodeStatus) -> Iterator[Metric]:
    found = status.transfers
    if found is None:
        return
    yield gauge("braid_transfers_open", "Connections being offered, moved or coming back", (), [((), found.open)])
    steps = {
        "requested": found.requests,
        "accepted": found.accepted,
        "moved": found.moved,
        "returned": found.returned,
    }
    yield counter(
        "braid_transfers", "Transfers, by how far they came", ("step",), [((s,), c) for s, c in steps.items()]
    )
    refused = [((reason,), count) for reason, count in found.refused.items()]
    yield counter("braid_transfers_refused", "Requests that the origin served instead", ("reason",), refused)
    events = [((event,), count) for event, count in found.events.items()]
    yield counter("braid_transfer_events", "What else happened", ("event",), events)
    yield histogram(
        "braid_transfer_duration_seconds",
        "From request to service, of those that moved",
        (),
        [((str(float(bound) * 1e-3),), count) for bound, count in every_bucket(found.durations).items()],
        {(): found.seconds},
    )
    yield counter("braid_transfer_bytes", "Sent on transferred connections", (), [((), found.bytes)])
    late = [((), found.passed_on)]
    yield counter("braid_transfer_passed_on_packets", "Sent after a connection that had gone", (), late)
