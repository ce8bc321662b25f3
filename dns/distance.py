"""Where clients and edges are, and which of some edges are near enough to be named. Pure.

The round trip of a client through an edge is that between them, estimated by the distance, and that behind the edge,
measured. What is not known of one of the edges is left out for all of them.
"""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING, NamedTuple

from dns.delays import clearly_better

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from topology.model import Location

EARTH_KM = 6371.0
"""Mean radius."""
MS_PER_KM = 0.02
"""Round trip: light in fibre takes 0.01 ms for a kilometre there and back, and cables are about twice as long as the
great circle."""
SAME_PLACE_KM = 100.0
"""Edges that are not further away than this beyond the nearest one are as near."""


class Way(NamedTuple):
    """What is known of a client's way through an edge."""

    behind_ms: float | None
    """Round trip between the edge and the gateway, measured and settled."""
    distance_km: float | None
    """Between client and edge, along the great circle."""


UNKNOWN = Way(None, None)


class Near(NamedTuple):
    fast: tuple[int, ...]
    """Edges that no other one is clearly faster than."""
    best: tuple[int, ...]
    """Those of them that are near the client."""


def great_circle_km(a: Location, b: Location) -> float:
    """By the haversine formula."""
    lat_a, lat_b = radians(a.latitude), radians(b.latitude)
    half = sin((lat_b - lat_a) / 2) ** 2
    half += cos(lat_a) * cos(lat_b) * sin(radians(b.longitude - a.longitude) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(min(1.0, half)))


def total_ms(way: Way, *, behind: bool, distance: bool) -> float:
    total = way.behind_ms if behind and way.behind_ms is not None else 0.0
    return total + (way.distance_km * MS_PER_KM if distance and way.distance_km is not None else 0.0)


def counted(ways: Sequence[Way]) -> tuple[bool, bool]:
    """Whether the delay behind the edges counts, and the distance: each is known of all."""
    return all(way.behind_ms is not None for way in ways), all(way.distance_km is not None for way in ways)


def nearest(edges: Sequence[int], way: Callable[[int], Way]) -> Near:
    """``edges``: equals otherwise, in the order that they shall keep."""
    ways = {edge: way(edge) for edge in edges}
    behind, distance = counted(list(ways.values()))
    if len(ways) < 2 or not (behind or distance):
        return Near(tuple(edges), tuple(edges))
    totals = {edge: total_ms(each, behind=behind, distance=distance) for edge, each in ways.items()}
    least = min(totals.values())
    fast = tuple(edge for edge in edges if not clearly_better(least, totals[edge]))
    if not distance:
        return Near(fast, fast)
    kilometres = {edge: ways[edge].distance_km or 0.0 for edge in fast}
    limit = min(kilometres.values()) + SAME_PLACE_KM
    return Near(fast, tuple(edge for edge in fast if kilometres[edge] <= limit))
