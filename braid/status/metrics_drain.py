"""Metrics of drains of a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.snapshot import NodeStatus


def drains(status: NodeStatus) -> Iterator[Metric]:
    found = status.drain
    if found is None:
        return
    state = [((found.state, found.to), 1)]
    yield gauge("braid_drain_state", "Always 1; how far the drain of this gateway is", ("state", "to"), state)
    left = [(("opening",), found.opening), (("stay",), found.stay)]
    yield gauge("braid_drain_left", "Connections that did not move, at the last look", ("why",), left)
    why = [((reason,), count) for reason, count in found.stay_why.items()]
    yield gauge("braid_drain_stay", "Connections in a TCP stack at the last look, by the reason", ("why",), why)
    flows = {"told": found.flows, "taken": found.hosted, "refused": found.refused + found.hosted_refused}
    yield counter("braid_drain_flows", "Flows between gateways", ("way",), [((w,), c) for w, c in flows.items()])
    yield counter("braid_drain_passed_packets", "Packets given to the sibling", (), [((), status.passed_on)])
