"""The documents of one or many nodes as rows for people. Pure; ``braid.status.show`` prints them.

Documents come from nodes that may run another version: what is absent is shown as a dash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Documents = Mapping[str, Mapping[str, Any]]

DASH = "-"
SAME_AGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    style: str = ""
    """"good", "warn", "bad", "dim" or empty."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class DirectedPath:
    """One path from end to end: what the sender sent on it and what the receiver made of the copies."""

    source: str
    destination: str
    way: str
    """Regions crossed; for a sender that was not asked, the neighbour through which its copies come."""
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
                    way=" > ".join(path["regions"]) or "direct",
                    up=path["up"],
                    in_use=path.get("in_use", True),
                    detail=path.get("detail", ""),
                    rtt_ms=path.get("rtt_ms"),
                    sent=path["copies_sent"],
                    unsent=path["unsent"],
                    kept=kept,
                    eliminated=eliminated,
                    lost=_lost(document, destination, path["copies_sent"], kept, eliminated),
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


def paths_table(documents: Documents) -> Table:
    rows = tuple(
        (
            Cell(path.source),
            Cell(path.destination),
            Cell(path.way),
            _path_health(path),
            Cell(DASH if path.rtt_ms is None else f"{path.rtt_ms:.1f} ms"),
            _count(path.sent),
            _count(path.unsent),
            _count(path.kept),
            _count(path.eliminated),
            _count(path.lost),
        )
        for path in join_paths(documents)
        if path.in_use or path.sent or path.kept
    )
    columns = ("From", "To", "Path", "Health", "Round trip", "Sent", "Unsent", "Kept first", "Eliminated", "Lost")
    return Table("Paths", columns, frozenset(columns[4:]), rows)


def _path_health(path: DirectedPath) -> Cell:
    if path.up is None:
        return Cell(DASH, "dim")
    if not path.in_use:
        return Cell("not in use", "dim")
    if path.up:
        return Cell("up", "good")
    return Cell(f"down: {path.detail}" if path.detail else "down", "bad")


def nodes_table(documents: Documents, unreachable: Mapping[str, str]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            Cell(name),
            Cell(document.get("role", DASH)),
            Cell(document.get("region", DASH)),
            _readiness(document),
            Cell(duration(document.get("uptime_s", 0.0))),
            _up_of([item["up"] for item in document.get("neighbours", ())]),
            _up_of([item["usable"] for item in document.get("sessions", ()) if not item["adjacent"]]),
            _protection(document),
            _count(sum(document.get("drops", {}).values())),
            Cell(document.get("topology", {}).get("revision", DASH)[:12]),
        )
        for name, document in documents.items()
    ]
    rows += [
        (Cell(name), *[Cell(DASH, "dim")] * 2, Cell(f"unreachable: {why}", "bad"), *[Cell(DASH, "dim")] * 6)
        for name, why in unreachable.items()
    ]
    columns = (
        "Node", "Role", "Region", "Ready", "Up", "Neighbours", "Sessions", "Protection", "Dropped", "Topology",
    )  # fmt: skip
    return Table("Nodes", columns, frozenset(("Up", "Neighbours", "Sessions", "Dropped")), tuple(rows))


def node_tables(document: Mapping[str, Any]) -> list[Table]:
    """One node in detail."""
    neighbours = tuple(
        (
            Cell(item["node"]),
            Cell("up", "good") if item["up"] else Cell("down", "bad"),
            Cell(item["address"] or DASH),
            Cell(DASH if item["rtt_ms"] is None else f"{item['rtt_ms']:.2f} ms"),
            _count(item["tx_datagrams"]),
            _count(item["rx_datagrams"]),
        )
        for item in document.get("neighbours", ())
    )
    drops = tuple(
        (Cell(reason.replace("_", " ")), _count(number))
        for reason, number in sorted(document.get("drops", {}).items(), key=lambda item: -item[1])
        if number
    )
    tables = [
        _applications(document),
        Table(
            "Neighbours",
            ("Neighbour", "Health", "Address", "Round trip", "Sent", "Received"),
            frozenset(("Round trip", "Sent", "Received")),
            neighbours,
        ),
        Table("Packets dropped", ("Reason", "Packets"), frozenset(("Packets",)), drops),
    ]
    return [table for table in tables if table.rows]


def flows_table(documents: Documents) -> Table:
    rows = tuple(
        (
            Cell(gateway),
            *(
                Cell(str(flow[key]))
                for key in ("application", "protocol", "client", "vip", "snat", "target", "edge", "state")
            ),
            Cell(duration(flow["idle_s"])),
            _count(flow["packets_in"]),
            _count(flow["packets_out"]),
        )
        for gateway, document in documents.items()
        for flow in document.get("flows", ())
    )
    columns = (
        "Gateway", "Application", "Proto", "Client", "VIP", "SNAT", "Target", "Edge", "State", "Idle", "In", "Out",
    )  # fmt: skip
    return Table("Flows", columns, frozenset(("Idle", "In", "Out")), rows)


def duration(seconds: float) -> str:
    """ "0 s", "4 min 10 s", "3 h 2 min", "12 d 1 h"."""
    whole = int(seconds)
    for size, big, small_size, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // small_size} {small}"
    return f"{whole} s"


def _applications(document: Mapping[str, Any]) -> Table:
    items = document.get("applications", ())
    if document.get("role") == "gateway":
        rows = tuple(
            (
                Cell(item["name"]),
                Cell(", ".join(target["address"] for target in item["targets"] if target["healthy"]) or DASH),
                Cell(
                    ", ".join(target["address"] for target in item["targets"] if not target["healthy"]) or DASH, "bad"
                ),
                _count(item["flows"]),
            )
            for item in items
        )
        return Table("Applications", ("Application", "Healthy", "Failing", "Flows"), frozenset(("Flows",)), rows)
    rows = tuple(
        (
            Cell(item["name"]),
            Cell(item["protection"], _word_style(item["protection"])),
            Cell(item["gateway"] or "none usable"),
            Cell(", ".join(item["vips"])),
        )
        for item in items
    )
    return Table("Applications", ("Application", "Protection", "Gateway", "VIPs"), frozenset(), rows)


def _count(number: int | None) -> Cell:
    return Cell(DASH, "dim") if number is None else Cell(f"{number:,}")


def _readiness(document: Mapping[str, Any]) -> Cell:
    failing = [check["name"] for check in document.get("checks", ()) if not check["ok"]]
    if document.get("topology", {}).get("reload_error"):
        failing.append("newest topology file refused")
    if not document.get("ready"):
        return Cell("no: " + ", ".join(failing), "bad")
    return Cell("yes, but " + failing[-1], "warn") if failing else Cell("yes", "good")


def _up_of(states: list[bool]) -> Cell:
    if not states:
        return Cell(DASH, "dim")
    return Cell(f"{sum(states)}/{len(states)}", "good" if all(states) else "bad" if not any(states) else "warn")


def _protection(document: Mapping[str, Any]) -> Cell:
    """The worst of the edge's applications."""
    items = [item for item in document.get("applications", ()) if item.get("protection")]
    if not items:
        return Cell(DASH, "dim")
    worst = min(items, key=lambda item: item["copies_usable"] / max(1, item["copies_wanted"]))
    return Cell(worst["protection"], _word_style(worst["protection"]))


def _word_style(protection: str) -> str:
    return {"protected": "good", "reduced": "warn"}.get(protection.partition(" ")[0], "bad")
