"""Paths, what they carry, and what changed, as rows for people. Pure; ``braid.status.show`` prints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braid.status.changes import clock
from braid.status.size import is_narrow
from braid.status.table import DASH, Cell, Table, count_cell, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.status.table import Documents

SAME_AGE_S = 30.0


@dataclass(frozen=True, slots=True)
class DirectedPath:
    """One path from end to end: what the sender sent on it and what the receiver made of the copies."""

    source: str
    destination: str
    way: str
    """Nodes crossed; for a sender that was not asked, the neighbour through which its copies come."""
    up: bool | None
    in_use: bool
    detail: str
    rtt_ms: float | None
    sent: int | None
    unsent: int | None
    kept: int | None
    """None when the receiver was not asked, did not answer, or has not yet had a copy."""
    eliminated: int | None
    lost: int | None
    """Sent and never arrived, copies in flight included. None when the two counters do not cover the same time."""
    first_share: float | None = None
    since_s: float | None = None
    silent: bool = False
    loss: float | None = None
    narrow: int | None = None
    """Bytes of the largest packet that it carries, where that is less than it should be."""
    one_way_ms: float | None = None
    jitter_ms: float | None = None
    trouble: str = ""


def join_paths(documents: Documents) -> list[DirectedPath]:
    """Sender's and receiver's counters of each path brought together, by sender, receiver and path id.

    What was received from a sender that is not among the documents has a line of its own.
    """
    joined: list[DirectedPath] = []
    for source, document in documents.items():
        for path in document.get("paths", ()):
            destination = documents.get(path["peer"])
            found = [
                item
                for item in (destination or {}).get("received", ())
                if item["peer"] == source and item["id"] == path["id"]
            ]
            kept = sum(item["kept"] for item in found) if found else None
            eliminated = sum(item["eliminated"] for item in found) if found else None
            joined.append(
                DirectedPath(
                    source=source,
                    destination=path["peer"],
                    way=" > ".join(path["route"][:-1]) or "direct",
                    up=path["up"],
                    in_use=path.get("in_use", True),
                    detail=path.get("detail", ""),
                    rtt_ms=path.get("rtt_ms"),
                    sent=path["copies_sent"],
                    unsent=path["unsent"],
                    kept=kept,
                    eliminated=eliminated,
                    lost=_lost(document, destination, path["copies_sent"], kept, eliminated),
                    first_share=next((item.get("first_share") for item in found), None),
                    since_s=_seconds_since(document, path.get("since")),
                    silent=path.get("silent", False),
                    loss=path.get("loss"),
                    narrow=_narrow(path),
                    one_way_ms=path.get("one_way_ms"),
                    jitter_ms=path.get("jitter_ms"),
                    trouble=path.get("trouble", ""),
                )
            )
        joined += [
            DirectedPath(
                source=item["peer"],
                destination=source,
                way=f"... {item['via']}",
                up=None,
                in_use=True,
                detail="",
                rtt_ms=None,
                sent=None,
                unsent=None,
                kept=item["kept"],
                eliminated=item["eliminated"],
                lost=None,
            )
            for item in document.get("received", ())
            if item["peer"] not in documents
        ]
    return joined


def _lost(
    source: Mapping[str, Any],
    destination: Mapping[str, Any] | None,
    sent: int,
    kept: int | None,
    eliminated: int | None,
) -> int | None:
    if destination is None or kept is None or eliminated is None:
        return None
    if abs(source.get("uptime_s", 0.0) - destination.get("uptime_s", 0.0)) > SAME_AGE_S:
        return None
    missing = sent - kept - eliminated
    return missing if missing >= 0 else None


def _narrow(path: Mapping[str, Any]) -> int | None:
    mtu: int | None = path.get("mtu")
    return mtu if is_narrow(mtu, path.get("mtu_configured"), path.get("mtu_state", "")) else None


def _seconds_since(document: Mapping[str, Any], since: float | None) -> float | None:
    """By the node's own clock: ``since`` and its start are both its Unix time."""
    started = document.get("started_at")
    if since is None or started is None:
        return None
    return max(0.0, float(started) + float(document.get("uptime_s", 0.0)) - since)


def paths_table(documents: Documents) -> Table:
    """Worst first. Columns in which there is nothing to see are left out."""
    shown = [path for path in join_paths(documents) if path.in_use or path.silent or path.sent or path.kept]
    shown.sort(key=_rank)
    columns: dict[str, tuple[Cell, ...]] = {
        "From": tuple(Cell(path.source) for path in shown),
        "To": tuple(Cell(path.destination) for path in shown),
        "Path": tuple(Cell(path.way) for path in shown),
        "Health": tuple(_path_health(path) for path in shown),
        "Round trip": tuple(Cell(DASH if path.rtt_ms is None else f"{path.rtt_ms:.1f} ms") for path in shown),
        "One way": tuple(Cell(DASH if path.one_way_ms is None else f"{path.one_way_ms:.1f} ms") for path in shown),
        "Jitter": tuple(Cell(DASH if path.jitter_ms is None else f"{path.jitter_ms:.1f} ms") for path in shown),
        "Loss": tuple(Cell(DASH if path.loss is None else f"{path.loss:.2%}") for path in shown),
        "Carries": tuple(Cell(DASH) if path.narrow is None else Cell(f"{path.narrow} B", "warn") for path in shown),
        "First": tuple(Cell(DASH if path.first_share is None else f"{path.first_share:.0%}") for path in shown),
        "Sent": tuple(count_cell(path.sent) for path in shown),
        "Unsent": tuple(count_cell(path.unsent) for path in shown),
        "Kept first": tuple(count_cell(path.kept) for path in shown),
        "Eliminated": tuple(count_cell(path.eliminated) for path in shown),
        "Lost": tuple(count_cell(path.lost) for path in shown),
        "Since": tuple(Cell(DASH if path.since_s is None else duration(path.since_s)) for path in shown),
    }
    optional = (
        ("One way", "one_way_ms"), ("Jitter", "jitter_ms"), ("Loss", "loss"), ("Carries", "narrow"),
        ("Unsent", "unsent"),
    )  # fmt: skip
    for name, tells in optional:
        if not any(getattr(path, tells) for path in shown):
            del columns[name]
    names = ("From", "To", "Path")
    numeric = frozenset(columns) - {*names, "Health"}
    return Table("Paths", tuple(columns), numeric, tuple(zip(*columns.values(), strict=True)), frozenset(names))


def _rank(path: DirectedPath) -> tuple[int, int]:
    """Down, then what only one end told, then up, then not in use; most lost first."""
    state = 3 if not path.in_use and not path.silent else 0 if path.up is False or path.silent else 1 + bool(path.up)
    return state, -(path.lost or 0)


def services_table(documents: Documents) -> Table:
    """What carries the applications, as the nodes tell in ``choices``; worst first, each once."""
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for name, document in documents.items():
        for item in document.get("choices", ()):
            key = (item["application"], item["edge"], item["gateway"], item["direction"])
            source = item["edge"] if item["direction"] == "to_gateway" else item["gateway"]
            if key not in found or name == source:
                found[key] = item
    order = ("down", "reduced", "unknown", "protected")
    chosen = sorted(found.values(), key=lambda item: order.index(item["state"]) if item["state"] in order else 0)
    rows = tuple(
        (
            Cell(item["application"]),
            Cell(_ends(item)),
            Cell(item["sentence"], {"protected": "good", "reduced": "warn", "down": "bad"}.get(item["state"], "dim")),
            Cell("; ".join(" > ".join(path["route"][:-1]) or "direct" for path in item["paths"])),
            Cell(DASH if item.get("joint_loss") is None else f"{item['joint_loss']:.2%}"),
            *(count_cell(item.get(key)) for key in ("eliminated", "repaired", "out_of_order", "lost")),
            Cell(item["why"], "dim"),
        )
        for item in chosen
    )
    counted = ("Lost jointly", "Eliminated", "Repaired", "Out of order", "Lost")
    columns = ("Application", "From > To", "State", "Paths", *counted, "Why")
    return Table("Services", columns, frozenset(counted), rows)


def _ends(item: Mapping[str, Any]) -> str:
    ends = (item["edge"], item["gateway"])
    return " > ".join(ends if item["direction"] == "to_gateway" else reversed(ends))


def changes_table(documents: Documents, count: int = 10) -> Table:
    """The last changes of all nodes, newest first."""
    found = [(change, name) for name, document in documents.items() for change in document.get("changes", ())]
    found.sort(key=lambda item: -item[0]["at"])
    rows = tuple(
        (
            Cell(clock(change["at"])),
            Cell(name),
            Cell(change["text"], {"bad": "bad", "good": "good"}.get(change["tone"], "")),
            Cell(change["cause"], "dim"),
        )
        for change, name in found[:count]
    )
    return Table("Last changes", ("Time", "Node", "What", "Cause"), frozenset(), rows)


def _path_health(path: DirectedPath) -> Cell:
    if path.up is None:
        return Cell(DASH, "dim")
    if not path.in_use:
        return Cell(path.detail, "warn") if path.silent else Cell("not in use", "dim")
    if path.up:
        return Cell(f"up, {path.trouble}", "warn") if path.trouble else Cell("up", "good")
    return Cell(f"down: {path.detail}" if path.detail else "down", "bad")
