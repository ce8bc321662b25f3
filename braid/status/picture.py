"""The whole overlay as it is shown: frozen values. Names of nodes; ``since`` and ``at`` are Unix seconds.

A measurement that is None was not made yet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeInfo:
    name: str
    role: str
    region: str
    place: str
    age_s: float | None
    """Seconds since its summary; 0 for the node that shows this; None: nothing was heard of it."""
    stale: bool
    ready: bool | None
    draining: bool
    problem: str
    revision: str
    uptime_s: int | None
    truncated: bool


@dataclass(frozen=True, slots=True)
class LinkInfo:
    a: str
    b: str
    state: str
    """"up", "one_way", "down" or "unknown"."""
    detail: str
    since: float | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class PathInfo:
    source: str
    destination: str
    id: int
    route: tuple[str, ...]
    regions: tuple[str, ...]
    state: str
    """"up", "settling" (came into use a moment ago), "silent", "avoided" or "unknown" (old news)."""
    detail: str
    since: float | None
    sent: int
    kept: int | None
    """At the other end; None: it did not say."""
    eliminated: int | None
    lost: int | None
    first_share: float | None
    rtt_ms: float | None
    one_way_ms: float | None
    jitter_ms: float | None
    loss: float | None
    mtu: int | None = None
    """Bytes of the largest inner packet that it carries."""


@dataclass(frozen=True, slots=True)
class SetInfo:
    """A set of paths as its source chose it; the counters are what the source received from the destination."""

    source: str
    destination: str
    copies: int
    why: str
    joint_probes: int
    joint_lost: int
    passed: int
    discarded: int
    out_of_order: int
    lost: int


@dataclass(frozen=True, slots=True)
class RedundancyInfo:
    """What an application with a target loss is worth from ``source`` to ``destination``: as in the source's status."""

    source: str
    destination: str
    application: str
    mode: str
    verdict: str
    text: str
    target: float
    estimate: float
    bound: float
    paths: int
    """In use, of so many candidates."""
    candidates: int
    mean_copies: float
    budget: float
    surges: int
    longest_surge_s: float
    settled: int
    repaired: int
    lost: int
    stale: bool


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    node: str
    name: str
    gateway: str | None
    copies_wanted: int
    copies_usable: int
    since: float | None
    cause: str
    flows: int
    targets: int
    healthy: int
    stale: bool


@dataclass(frozen=True, slots=True)
class ChangeInfo:
    node: str
    at: float
    kind: str
    tone: str
    text: str
    cause: str


@dataclass(frozen=True, slots=True)
class RegionInfo:
    name: str
    role: str
    place: str
    shared_risk: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    seen_by: str
    at: float
    topology: str
    revision: str
    regions: tuple[RegionInfo, ...]
    nodes: tuple[NodeInfo, ...]
    links: tuple[LinkInfo, ...]
    paths: tuple[PathInfo, ...]
    sets: tuple[SetInfo, ...]
    applications: tuple[ApplicationInfo, ...]
    changes: tuple[ChangeInfo, ...]
    """Newest first."""
    redundancy: tuple[RedundancyInfo, ...] = ()
    """Of all nodes, the least good first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What carries one application between an edge and a gateway in one direction."""

    edge: str
    gateway: str
    direction: str
    """"to_gateway", chosen by the edge, or "to_edge", chosen by the gateway."""
    application: str
    state: str
    """"protected", "reduced", "down" or "unknown"."""
    sentence: str
    since: float | None
    why: str
    joint_loss: float | None
    """Share of the last ten minutes' probes lost on all paths at once. None, here and below: not measured yet."""
    joint_probes: int | None
    repaired: int | None
    """Copies lost of packets that another copy brought."""
    passed: int | None
    """What the receiver made of all packets from this source: first copies, copies eliminated, packets that came out of
    order, packets of which no copy came."""
    eliminated: int | None
    out_of_order: int | None
    lost: int | None
    paths: tuple[PathInfo, ...]
    changes: tuple[ChangeInfo, ...]
    """The last ones about its paths, newest first."""
