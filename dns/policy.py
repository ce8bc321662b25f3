"""Which edge serves which client: longest matching prefix, then who serves everybody, then anybody in working order.

Pure: health comes in as standings, the order of edges is that of the topology file.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topology.model import IPAddress, IPNetwork

Order = tuple[int, ...]
"""Indices into the edges of the configuration, best first."""


class Standing(IntEnum):
    """What an edge can do for an application; a lower one is preferred."""

    UP = 0
    DRAINING = 1
    DOWN = 2


class Steering:
    """Client address -> edges, best first. Made once per configuration; a look-up costs one dict per prefix length."""

    def __init__(self, serves: Sequence[Sequence[IPNetwork]]) -> None:
        """``serves``: per edge the client prefixes it is meant for; empty means everybody."""
        lengths: dict[int, dict[int, dict[int, Order]]] = {4: {}, 6: {}}
        for prefix in {prefix for prefixes in serves for prefix in prefixes}:
            cells = lengths[prefix.version].setdefault(prefix.prefixlen, {})
            cells[int(prefix.network_address) >> _spare(prefix)] = _order_for(prefix, serves)
        self._cells = {version: sorted(cells.items(), reverse=True) for version, cells in lengths.items()}
        self._others = _order_for(None, serves)

    def order(self, client: IPAddress) -> Order:
        """Returns every edge exactly once."""
        number, bits = int(client), client.max_prefixlen
        for length, cells in self._cells[client.version]:
            found = cells.get(number >> (bits - length))
            if found is not None:
                return found
        return self._others


def choose(order: Order, standing: Callable[[int], Standing]) -> Order:
    """Returns the edge to name, or all of them in order when none is in working order (fail open): a guess may work,
    an empty answer cannot. ``order`` has only edges that have the application; it may be empty, then so is the result.
    """
    draining: Order = ()
    for edge in order:
        match standing(edge):
            case Standing.UP:
                return (edge,)
            case Standing.DRAINING if not draining:
                draining = (edge,)
            case _:
                pass
    return draining or order


def _order_for(prefix: IPNetwork | None, serves: Sequence[Sequence[IPNetwork]]) -> Order:
    def key(edge: int) -> tuple[int, int, int]:
        match = max((p.prefixlen for p in serves[edge] if prefix is not None and _within(prefix, p)), default=-1)
        if match >= 0:
            return (0, -match, edge)
        return (2 if serves[edge] else 1, 0, edge)

    return tuple(sorted(range(len(serves)), key=key))


def _within(inner: IPNetwork, outer: IPNetwork) -> bool:
    if inner.version != outer.version or inner.prefixlen < outer.prefixlen:
        return False
    return int(inner.network_address) >> _spare(outer) == int(outer.network_address) >> _spare(outer)


def _spare(prefix: IPNetwork) -> int:
    return prefix.max_prefixlen - prefix.prefixlen
