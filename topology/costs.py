"""What crossing links and regions costs now, in the unit of the topology file (milliseconds by convention).

The file's own costs hold until ``Costs`` says something newer. The functions below turn what can be measured into that
unit; each weight says how many milliseconds a user would trade for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log1p
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Pair = tuple[str, str]

LOSS_MS = 1000.0
"""A lost packet costs a sender about a second of waiting, so 1 % of loss weighs as much as 10 ms."""
JOINT_LOSS_MS = 100_000.0
"""A loss on two paths at once is one that users see: 0.01 % of it weighs as much as 10 ms."""
QUEUE_MS = 1.0
"""Waiting at a region that is half busy; it grows as that of a queue with one server (M/M/1)."""
MOST_LOSS = 0.999
MOST_LOAD = 0.99


@dataclass(frozen=True, slots=True)
class Costs:
    """Changes only: what is missing keeps its cost."""

    links: Mapping[Pair, float] = field(default_factory=dict)
    """(from, to) -> cost; the two directions of a link may differ."""
    regions: Mapping[str, float] = field(default_factory=dict)
    """Intermediate region -> cost of passing it."""
    pairs: Mapping[Pair, float] = field(default_factory=dict)
    """Two intermediate regions, in any order -> what it costs to have them on two paths of one set. 0 forgets it."""


def link_cost(delay: float, loss: float) -> float:
    """One-way delay in milliseconds and loss as a share. Losses of several links in a row add up in logarithms."""
    return delay - LOSS_MS * log1p(-min(loss, MOST_LOSS))


def region_cost(price: float, load: float) -> float:
    """``price`` as in the file, ``load`` as the busy share of the region's nodes."""
    busy = min(load, MOST_LOAD)
    return price + QUEUE_MS * busy / (1 - busy)


def pair_cost(joint_loss: float) -> float:
    """``joint_loss`` as the share of packets lost on both paths."""
    return JOINT_LOSS_MS * joint_loss
