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
    whole: frozenset[str] = frozenset()
    """Columns that are not folded on a narrow terminal."""


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
            count_cell(sum(document.get("drops", {}).values())),
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
            count_cell(item["tx_datagrams"]),
            count_cell(item["rx_datagrams"]),
        )
        for item in document.get("neighbours", ())
    )
    drops = tuple(
        (Cell(reason.replace("_", " ")), count_cell(number))
        for reason, number in sorted(document.get("drops", {}).items(), key=lambda item: -item[1])
        if number
    )
    tables = [
        _drain(document.get("drain") or {}),
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


def _drain(said: Mapping[str, Any]) -> Table:
    """Empty where no flow of a gateway is with another one, or on its way."""
    rows = []
    if said.get("state", "home") != "home" or said.get("problem"):
        why = ", ".join(f"{count} {reason}" for reason, count in said["stay_why"].items())
        left = f"{said['opening']} being opened, {said['stay']} stay" + (f" ({why})" if why else "")
        to = f" to {said['to']}" if said["to"] else ""
        by = f", by {said['by']}" if said.get("by") else ""
        rows.append((f"{said['state']}{to}{by}", said["flows"], said["refused"], left))
    if said.get("host_of"):
        rows.append(
            (f"has those of {said['host_of']}: {said['host_phase']}", said["hosted"], said["hosted_refused"], DASH)
        )
    problem = said.get("problem") or DASH
    return Table(
        "Drain",
        ("State", "Flows", "Refused", "Left", "Problem"),
        frozenset(("Flows", "Refused")),
        tuple(
            (
                Cell(state),
                count_cell(flows),
                count_cell(refused),
                Cell(left),
                Cell(problem, "" if problem == DASH else "bad"),
            )
            for state, flows, refused, left in rows
        ),
    )


def flows_table(documents: Documents) -> Table:
    rows = tuple(
        (
            Cell(node),
            *(
                Cell(str(flow.get(key, DASH)))
                for key in ("application", "protocol", "client", "vip", "snat", "target", "edge", "mode", "state")
            ),
            Cell(duration(flow["idle_s"])),
            _carried(flow, "in"),
            _carried(flow, "out"),
            Cell(flow.get("why", "")),
        )
        for node, document in documents.items()
        for flow in document.get("flows", ())
    )
    columns = (
        "Node", "Application", "Proto", "Client", "VIP", "SNAT", "Target", "Edge", "Mode", "State", "Idle", "In", "Out",
        "Why",
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
                count_cell(item["flows"]),
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


def _carried(flow: Mapping[str, Any], way: str) -> Cell:
    """Bytes. Those of a connection that is at a content proxy its gateway does not see; it knows what it was told."""
    count = flow.get(f"bytes_{way}", 0)
    if not count and flow.get("mode") == "transferred":
        return Cell(DASH, "dim")
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return Cell(f"{count / size:.1f} {unit}")
    return Cell(f"{count} B")


def count_cell(number: int | None) -> Cell:
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
