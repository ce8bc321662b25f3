"""The desired state of the data plane: what ``Core.configure`` takes, whole, each time anything changes.

Node numbers, application numbers and addresses only: names stay in Python.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Accept = Literal["listener", "first-byte", "at-once"]
PortMatch = tuple[str, int, int]
"""Protocol name ("tcp", "udp", "icmp", "any"), first and last port."""

MAX_PATH_ID = 15
TARGETS = 16
"""Sets of applications with a target have numbers from here on; below it a set's number is that of its copies."""
MAX_SET = 254


@dataclass(frozen=True, slots=True)
class Neighbour:
    node: int
    addresses: tuple[str, ...]
    """``address:port``, preferred first; IPv6 in brackets."""
    answers: bool = False
    """Probes to it answer its own."""


@dataclass(frozen=True, slots=True)
class PathChoice:
    id: int
    """0..15, the same for one (peer, route) as long as the process lives."""
    route: tuple[int, ...]
    """Node numbers, next hop first, the peer last."""


@dataclass(frozen=True, slots=True)
class PathSet:
    peer: int
    set: int
    """Names it to applications: the number of copies, or ``TARGETS`` + the number of an application with a target."""
    paths: tuple[PathChoice, ...]
    spares: tuple[PathChoice, ...] = ()
    """Probed, and used at once when one of ``paths`` does not arrive; the preferred one first."""
    measured: bool = False
    """The core tells what became of each packet to the peer (``braid.events.Losses``)."""
    spread_us: int = 0
    """Microseconds by which all copies but the first leave later."""


@dataclass(frozen=True, slots=True)
class EdgeApplication:
    app: int
    vips: tuple[str, ...]
    ports: tuple[PortMatch, ...]
    set: int
    gateways: tuple[int, ...]
    """In order of preference; the first usable one gets new flows."""
    cookies: bool = False
    """SYNs are answered here."""
    diverts: tuple[tuple[int, int], ...] = ()
    """Gateways whose clients go to another one now, and which."""
    owners: tuple[int, ...] = ()
    """Nodes that its gateways may give connections to."""


@dataclass(frozen=True, slots=True)
class EdgePolicy:
    applications: tuple[EdgeApplication, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayVip:
    address: str
    edge: int


@dataclass(frozen=True, slots=True)
class TargetChoice:
    address: str
    port: int | None
    """None keeps the client's destination port."""
    weight: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class GatewayApplication:
    app: int
    vips: tuple[GatewayVip, ...]
    ports: tuple[PortMatch, ...]
    set: int
    targets: tuple[TargetChoice, ...]
    mode: str = "nat"
    """``nat`` or ``fast-path``, for TCP."""
    cookies_at_edge: bool = False


@dataclass(frozen=True, slots=True)
class ProxiedApplication:
    vips: tuple[GatewayVip, ...]
    ports: tuple[PortMatch, ...]
    set: int
    app: int = 0
    accept: Accept = "listener"
    """Who accepts TCP connections: a listener of the stack, or the fast path, which asks the stack to take them with
    the client's first byte or at once."""
    transparent: tuple[str, ...] = ()
    """Servers that see clients' own addresses."""
    splices: bool = False
    """Its connections may go back to the data plane."""
    idle_timeout: float | None = None
    """Seconds that one may wait there for its client, between two requests."""


@dataclass(frozen=True, slots=True)
class SiblingChoice:
    node: int
    """The gateway that has what is not here."""
    leaving: bool
    """It gets what begins anew, too."""


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    applications: tuple[GatewayApplication, ...] = ()
    snat: tuple[str, ...] = ()
    proxied: tuple[ProxiedApplication, ...] = ()
    """Applications whose connections end in the gateway's own TCP stack; the NAT does not know them."""
    guests: tuple[str, ...] = ()
    """Pools of another gateway whose flows are here."""
    siblings: tuple[int, ...] = ()
    """Gateways of the region, which may pass on packets."""
    sibling: SiblingChoice | None = None
    moving: bool = False
    """Flows are on their way between this gateway and another one."""


@dataclass(frozen=True, slots=True)
class Desired:
    neighbours: tuple[Neighbour, ...] = ()
    path_sets: tuple[PathSet, ...] = ()
    shards: tuple[tuple[int, int], ...] = ()
    """Node number and number of shards of each neighbour and peer that has more than one."""
    edge: EdgePolicy | None = None
    gateway: GatewayPolicy | None = None

    def to_json(self) -> str:
        state = asdict(self)
        if self.shards:
            state["shards"] = {str(node): count for node, count in self.shards}
        else:
            del state["shards"]
        for role in ("edge", "gateway"):
            if state[role] is None:
                del state[role]
        return json.dumps(state, separators=(",", ":"))
