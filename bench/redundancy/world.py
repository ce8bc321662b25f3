"""Where paths run: ends, relays, and the provider by which each end reaches each relay.

``country`` makes one of sixteen cities; ``from_topology`` takes an operator's own. Each path crosses one relay.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING

from braid.redundancy.losses import Candidate
from topology.model import Role, Topology

if TYPE_CHECKING:
    from random import Random

Link = tuple[str, str]
"""Direction of travel: (edge, relay) or (relay, gateway)."""

CITIES = {
    "nyc": (40.7, -74.0), "lax": (34.1, -118.2), "chi": (41.9, -87.6), "dfw": (32.8, -96.8),
    "iad": (38.9, -77.4), "atl": (33.7, -84.4), "mia": (25.8, -80.2), "den": (39.7, -105.0),
    "sea": (47.6, -122.3), "sjc": (37.3, -121.9), "bos": (42.4, -71.1), "hou": (29.8, -95.4),
    "phx": (33.4, -112.1), "msp": (45.0, -93.3), "slc": (40.8, -111.9), "stl": (38.6, -90.2),
}  # fmt: skip
EDGES, GATEWAYS = ("nyc", "mia", "sea"), ("lax", "bos", "hou")
PROVIDERS = ("p1", "p2", "p3")
EARTH_KM, FIBRE_KM_PER_MS, DETOUR, FIXED_MS = 6371.0, 200.0, 1.6, 0.8


@dataclass(frozen=True, slots=True)
class Flow:
    edge: str
    gateway: str
    relays: tuple[str, ...]
    """Relay of each candidate path; the path's number is its position."""
    candidates: tuple[Candidate, ...]

    def links(self, path: int) -> tuple[Link, Link]:
        return (self.edge, self.relays[path]), (self.relays[path], self.gateway)


@dataclass(frozen=True, slots=True)
class World:
    edges: tuple[str, ...]
    relays: tuple[str, ...]
    gateways: tuple[str, ...]
    provider: dict[Link, str]
    """Of each link, by the end that it leaves or reaches."""
    delay: dict[Link, float]
    """Milliseconds."""

    def flow(self, edge: str, gateway: str) -> Flow:
        relays = tuple(relay for relay in self.relays if (edge, relay) in self.delay and (relay, gateway) in self.delay)
        found = []
        for path, relay in enumerate(relays):
            ends = ((edge, relay), (relay, gateway))
            providers = {
                f"provider {self.provider[link]} of {end}" for link, end in zip(ends, (edge, gateway), strict=True)
            }
            milliseconds = sum(self.delay[link] for link in ends)
            found.append(Candidate(path, milliseconds, frozenset({f"relay {relay}", *providers}), milliseconds / 1000))
        return Flow(edge, gateway, relays, tuple(found))

    def links_of(self, end: str) -> list[Link]:
        return [link for link in self.delay if end in link]


def country(rng: Random) -> World:
    """Three edges, ten relays and three gateways in the United States; each end reaches a relay by one of three."""
    relays = tuple(city for city in CITIES if city not in (*EDGES, *GATEWAYS))
    links = [*product(EDGES, relays), *product(relays, GATEWAYS)]
    return World(
        edges=EDGES,
        relays=relays,
        gateways=GATEWAYS,
        provider={link: rng.choice(PROVIDERS) for link in links},
        delay={link: _delay(*link) for link in links},
    )


def from_topology(topology: Topology) -> World:
    """Regions as sites, link costs as milliseconds. A relay's provider is taken for its links to all ends."""

    def regions(role: Role) -> tuple[str, ...]:
        return tuple(region.name for region in topology.regions.values() if region.role is role)

    roles = {region.name: region.role for region in topology.regions.values()}
    delay: dict[Link, float] = {}
    provider: dict[Link, str] = {}
    for link in topology.links:
        for here, there in ((link.a, link.b), (link.b, link.a)):
            towards = (roles[here], roles[there])
            if towards in ((Role.EDGE, Role.INTERMEDIATE), (Role.INTERMEDIATE, Role.GATEWAY)):
                relay = there if roles[there] is Role.INTERMEDIATE else here
                delay[here, there] = link.cost
                provider[here, there] = topology.regions[relay].provider or relay
    return World(regions(Role.EDGE), regions(Role.INTERMEDIATE), regions(Role.GATEWAY), provider, delay)


def _delay(one: str, other: str) -> float:
    (lat1, lon1), (lat2, lon2) = CITIES[one], CITIES[other]
    half = sin(radians(lat2 - lat1) / 2) ** 2
    half += cos(radians(lat1)) * cos(radians(lat2)) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(half)) * DETOUR / FIBRE_KM_PER_MS + FIXED_MS
