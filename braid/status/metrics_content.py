"""Metrics of a content proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.status.families import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from braid.status.snapshot import NodeStatus


def content(status: NodeStatus) -> Iterator[Metric]:
    found = status.content
    if found is None:
        return
    yield gauge("braid_content_answers", "Answers stored", (), [((), found.answers)])
    yield gauge("braid_content_bytes", "Bytes that they occupy", (), [((), found.bytes)])
    yield gauge("braid_content_limit_bytes", "Bytes that they may occupy", (), [((), found.bytes_limit)])
    yield gauge("braid_content_open_connections", "Clients' connections now", (), [((), found.connections)])
    yield gauge("braid_content_fetches", "Answers being fetched", (), [((), found.fetches)])
    requests = [((outcome,), count) for outcome, count in found.requests.items()]
    yield counter("braid_content_requests", "Requests, by what became of them", ("outcome",), requests)
    yield counter("braid_content_client_bytes", "Bytes sent to clients", (), [((), found.client_bytes)])
    yield counter("braid_content_origin_bytes", "Bytes of bodies from origins", (), [((), found.origin_bytes)])
    events = [((event,), count) for event, count in found.events.items()]
    yield counter("braid_content_events", "What else happened", ("event",), events)
