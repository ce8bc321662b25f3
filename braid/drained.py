"""Which gateways an operator has drained, and to whom: a file beside the topology, one gateway in a line.

It survives restarts: a drained gateway that starts again leaves its clients where they are. Each node reads it on its
own machine; only the line with its own name is about it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
