"""The JSON documents of the endpoints that show more than the snapshot. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from braid.status.history import MINUTES, SECONDS, History, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from braid.status.history import Subject
    from braid.status.node_view import NodeView
    from braid.status.picture import Choice, Overlay

OF_STATUS = ("name", "role", "started_at", "uptime_s", "paths", "path_sets", "received", "applications", "redundancy")
DEFAULT_POINTS = 60
RANGES = {"10m": SECONDS, "24h": MINUTES}


def paths_document(view: NodeView) -> dict[str, Any]:
    """The node's paths, what they carry from end to end, and the last changes with their cause."""
    status = asdict(view.snapshot())
    _, chosen = view.overlay()
    return {
        **{key: status[key] for key in OF_STATUS},
        "choices": [asdict(choice) for choice in chosen if status["name"] in (choice.edge, choice.gateway)],
        "changes": [asdict(change) for change in view.recorder.changes.last()],
    }


def overlay_document(seen: Overlay, chosen: Sequence[Choice]) -> dict[str, Any]:
    """``choices`` name their paths by source, destination and id; the paths themselves stand once."""
    document = asdict(seen)
    document["choices"] = []
    for choice in chosen:
        entry = asdict(choice)
        entry["paths"] = [(path.source, path.destination, path.id) for path in choice.paths]
        del entry["changes"]
        document["choices"].append(entry)
    return document


def history_document(
    history: History, now: float, span: str, subjects: Sequence[Subject], points: int
) -> dict[str, Any]:
    """Curves of the subjects that are known; ``points`` shortens them to means. ``span``: a key of ``RANGES``."""
    read = history.minutes if span == "24h" else history.seconds
    known = set(history.subjects())
    curves = [(subject, read(subject, now)) for subject in subjects if subject in known]
    return {
        "range": span,
        "span_s": RANGES[span] * (60 if span == "24h" else 1),
        "curves": [
            {
                "node": node,
                "kind": kind,
                "name": name,
                "values": {field: [_short(value) for value in shorten(values, points)]
                           for field, values in curve.values.items()},
            }
            for (node, kind, name), curve in curves
        ],
    }  # fmt: skip


def _short(value: float | None) -> float | None:
    """Four digits are enough to draw."""
    return None if value is None else float(f"{value:.4g}")
