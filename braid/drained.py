"""Which gateways are drained, and to whom: by rows of the topology's routing table, and by what an operator has ordered
with ``braid drain``: a file beside the topology with such rows, one gateway in a line.

Both survive restarts: a drained gateway that starts again leaves its clients where they are. Each node reads the file
on its own machine; only the line with its own name is about it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from topology.drains import clashes
from topology.table import in_force

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from topology.drains import DrainRow
    from topology.model import Topology

COMMAND = "braid drain"
SUFFIX = ".gateways"
_HEAD = "# Drained gateways: NAME SIBLING, and `back` or `routed`. Written by `braid drain` and `braid undrain`.\n"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """What one gateway is to do."""

    to: str
    back: bool = False
    """Its connections are to come home; then the line goes."""
    routed: bool = False
    """Its pools need not be on a link of the sibling: the network leads them there."""
    by: str = field(default=COMMAND, compare=False)
    """Who says so: that command, or a place in the topology file."""


def orders_file(topology: Path) -> Path:
    return topology.with_name(topology.name + SUFFIX)


def read_orders(file: Path) -> dict[str, Order]:
    """By gateway. Empty when there is no such file; lines that mean nothing are left out. OSError when it cannot be
    read."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(_MOST_BYTES)
    except FileNotFoundError:
        return {}
    found: dict[str, Order] = {}
    for line in text.splitlines():
        match line.partition("#")[0].split():
            case [name, to, *words] if set(words) <= {"back", "routed"}:
                found[name] = Order(to, "back" in words, "routed" in words)
    return found


def row_of(topology: Topology, gateway: str, wall: float) -> Order | None:
    """What the routing table has it do."""
    rows = (row for row in in_force(topology, wall) if row.gateway == gateway)
    return next((Order(row.to, routed=row.routed, by=row.place) for row in rows), None)


def order_of(topology: Topology, gateway: str, ordered: Mapping[str, Order], wall: float) -> Order | None:
    """What a gateway is to do. Where the command and the table contradict each other the command was first."""
    said, row = ordered.get(gateway), row_of(topology, gateway, wall)
    return row if said is None or said == row else said


def contradiction(topology: Topology, gateway: str, order: Order, wall: float) -> tuple[DrainRow, str] | None:
    """The row of the table beside which an order cannot be, and why."""
    for row in in_force(topology, wall):
        if row.gateway == gateway and row.to == order.to:
            if row.routed != order.routed:
                return row, f"{gateway} is drained {'with' if row.routed else 'without'} `routed` already"
            continue
        clash = next(clashes([(row.gateway, row.to), (gateway, order.to)]), None)
        if clash is not None:
            return row, clash.message
    return None


def contradictions(file: Path, topology: Topology, ordered: Mapping[str, Order], wall: float) -> list[str]:
    """Between the routing table of a topology file and what was ordered: place, what is wrong, what to do. Orders about
    what is no node any more count as none."""
    found = []
    for gateway, order in ordered.items():
        known = gateway in topology.nodes and order.to in topology.nodes
        clash = contradiction(topology, gateway, order, wall) if known else None
        if clash is not None:
            row, why = clash
            ends = "wait until it is home" if order.back else f"`braid undrain {gateway}` first"
            found.append(
                f"{file}: {row.place}: {row.gateway} to {row.to}, but `{COMMAND}` has {gateway} at {order.to}: {why}; "
                f"{ends}, or change the row"
            )
    return found


def write_order(file: Path, name: str, order: Order | None) -> None:
    """Replaces the line of one gateway; None takes it out. In one step, so that no reader sees half of it. OSError when
    it cannot be written."""
    orders: Mapping[str, Order | None] = {**read_orders(file), name: order}
    lines = [
        f"{each} {said.to}{' back' if said.back else ''}{' routed' if said.routed else ''}\n"
        for each, said in sorted(orders.items())
        if said is not None
    ]
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(_HEAD + "".join(lines), encoding="utf-8")
    os.replace(fresh, file)
