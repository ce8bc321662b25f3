"""Which of the edges in a client's order is the answer. Pure: health comes in as standings."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Order = tuple[int, ...]
"""Indices into the edges of the configuration, best first."""


class Standing(IntEnum):
    """What an edge can do for an application; a lower one is preferred."""

    UP = 0
    DRAINING = 1
    DOWN = 2


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
