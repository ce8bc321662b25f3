"""What a node shows of itself, as frozen values.

The status page, the JSON endpoints, the metrics and the command line all read these types and nothing else.
The node runtime implements ``NodeView``; ``braid.status.build`` makes the values from the core's counters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from braid.status.kernel import KernelStatus, OffloadStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from braid.status.content import ContentStatus
    from braid.status.drain import DrainStatus
    from braid.status.flow import FastPathStatus, NatStatus, ProxyStatus
    from braid.status.paths import Chosen, PathHealth, PathSetStatus, PathStatus, ReceivedStatus
    from braid.status.redundancy import RedundancyStatus
    from braid.status.transfers import TransferStatus


@dataclass(frozen=True, slots=True)
class Check:
    """One condition for being ready or alive; ``detail`` says what is missing and what to do."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TopologyStatus:
    name: str
    revision: str
    """Content hash or serial of the topology in use."""
    loaded_at: float
    """Unix time in seconds."""
    reload_error: str | None = None
    """Why the newest file was refused; the one in use is then the last known good."""


@dataclass(frozen=True, slots=True)
class NeighbourStatus:
    node: str
    region: str
    address: str | None
    up: bool
    rtt_ms: float | None
    heard_ms_ago: int | None
    tx_datagrams: int
    rx_datagrams: int
    jitter_ms: float | None = None
    loss: float | None = None
    """0..1, smoothed. None, here and below: not measured yet."""
    since: float | None = None
    """Unix time since when it is up, or down."""
    one_way_ms: float | None = None
    reported: int = 0
    """Datagrams to it whose fate it has reported, and how many of them it did not receive."""
    lost: int = 0
    trouble: str = ""
    """In words, what is worse than it should be: ``braid.trouble``."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Counters of the sequence recovery function, under their IEEE 802.1CB names."""

    passed: int = 0
    discarded: int = 0
    out_of_order: int = 0
    rogue: int = 0
    lost: int = 0
    tagless: int = 0
    resets: int = 0
    latent_errors: int = 0


@dataclass(frozen=True, slots=True)
class RecoveryWindow:
    """How far back the sequence recovery function of a session can tell copies apart."""

    packets: int | None = None
    """Of the largest lane; None before the first packet."""
    bytes: int = 0
    margin: float = 1.0
    """0..1: what the oldest copy accepted in the last 10 to 20 s left free of it."""
    capped: bool = False
    """It should be larger than the memory for it allows: late first copies may be refused."""


@dataclass(frozen=True, slots=True)
class SessionStatus:
    peer: str
    adjacent: bool
    """A hop session with a neighbour; else end to end, edge to gateway."""
    epoch: int
    age_s: float
    usable: bool
    heard_ms_ago: int | None
    tx_packets: int
    tx_bytes: int
    recovery: Recovery | None
    skew_ms: float = 0.0
    """How much later than the first copy the last one comes, the longest seen lately."""
    given_up: int = 0
    """Times that order was given up: a missing packet was not waited for any longer."""
    late: int = 0
    """Packets delivered after that, out of order."""
    window: RecoveryWindow | None = None
    """End-to-end sessions only."""


@dataclass(frozen=True, slots=True)
class TargetStatus:
    application: str
    address: str
    port: int | None
    weight: int
    healthy: bool
    detail: str = ""
    """Result of the last check; empty when nothing is checked."""


@dataclass(frozen=True, slots=True)
class ApplicationStatus:
    """An application at an edge (VIPs, gateway in use, protection) or at a gateway (targets, flows)."""

    name: str
    hostnames: tuple[str, ...]
    vips: tuple[str, ...] = ()
    gateway: str | None = None
    """Edge: the gateway that new flows use; None when none is usable."""
    copies_wanted: int = 0
    copies_usable: int = 0
    protection: str = ""
    """Edge: "protected 2 of 2", "reduced 1 of 2" or "down 0 of 2"."""
    flows: int = 0
    targets: tuple[TargetStatus, ...] = ()
    since: float | None = None
    """Edge: Unix time since when the protection is what it is."""
    cause: str = ""
    """Edge: why it is not fully protected: "path via mid-ams is silent since 12:03:04 UTC"."""


@dataclass(frozen=True, slots=True)
class RelayStatus:
    forwarded: int = 0
    """Datagrams handed on to another node."""
    streams: int = 0
    """Sender and session pairs that the replay check keeps a window for."""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One data thread; all other counters of the node are those of its shards together (``braid.status.merge``)."""

    index: int
    last_turn_ms: int = 0
    """Since its last turn; it turns at least every 250 ms."""
    tun_rx_packets: int = 0
    tun_tx_packets: int = 0
    udp_rx_datagrams: int = 0
    udp_tx_datagrams: int = 0
    handed_over: int = 0
    """Packets it read from the TUN for another shard, and gave to it."""
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class NodeStatus:
    name: str
    number: int
    role: str
    region: str
    place: str
    version: str
    started_at: float
    """Unix time in seconds."""
    uptime_s: float
    ready: bool
    checks: tuple[Check, ...]
    topology: TopologyStatus
    neighbours: tuple[NeighbourStatus, ...] = ()
    sessions: tuple[SessionStatus, ...] = ()
    paths: tuple[PathStatus, ...] = ()
    path_sets: tuple[PathSetStatus, ...] = ()
    received: tuple[ReceivedStatus, ...] = ()
    applications: tuple[ApplicationStatus, ...] = ()
    redundancy: tuple[RedundancyStatus, ...] = ()
    """Applications with a target loss, by peer."""
    nat: NatStatus | None = None
    fast_path: FastPathStatus | None = None
    """Gateways only."""
    relay: RelayStatus | None = None
    """Intermediates only."""
    drops: dict[str, int] = field(default_factory=dict)
    """Packets dropped, by reason."""
    fragmented: int = 0
    probing: Mapping[str, int] = field(default_factory=dict)
    """``datagrams`` and ``bytes`` of this node's probes of links and paths, those of size aside."""
    """Packets that were cut, since their paths carry no such size now."""
    io: dict[str, int] = field(default_factory=dict)
    offload: OffloadStatus = field(default_factory=OffloadStatus)
    kernel: KernelStatus = field(default_factory=KernelStatus)
    shards: tuple[ShardStatus, ...] = ()
    proxies: tuple[ProxyStatus, ...] = ()
    """Gateways: applications whose connections end here."""
    dns: dict[str, int] = field(default_factory=dict)
    """DNS nodes: what -> count."""
    content: ContentStatus | None = None
    transfers: TransferStatus | None = None
    drain: DrainStatus | None = None
    passed_on: int = 0
    """Packets that a gateway gave to its sibling, which has their flows."""
    change_counts: dict[str, int] = field(default_factory=dict)
    """Changes since the start, by ``kind/tone``."""
    load: float | None = None
    """0..1: how busy it is, of the cores that its shards may use. None: not measured yet."""
    summaries: dict[str, int] = field(default_factory=dict)
    """Messages with news of nodes by what became of them; ``known``: other nodes heard of lately."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node runtime knows and neither the core nor the topology does. ``now`` is Unix time."""

    now: float
    started_at: float
    version: str
    revision: str
    loaded_at: float
    checks: tuple[Check, ...] = ()
    reload_error: str | None = None
    path_health: Mapping[tuple[int, int], PathHealth] = field(default_factory=dict)
    """(peer number, path id) -> health. A path without an entry is judged by its first hop and its session."""
    avoided: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """Peer number -> numbers of nodes on paths that did not arrive."""
    targets: tuple[TargetStatus, ...] = ()
    """Gateway: results of the health checks."""
    gateway_of: Mapping[str, str] = field(default_factory=dict)
    """Edge: application -> gateway node given to the core first. Else the first one with a usable session."""
    applications: tuple[str, ...] = ()
    """Names by the core's application index. Empty: the order of the topology."""
    proxies: tuple[ProxyStatus, ...] = ()
    dns: Mapping[str, int] = field(default_factory=dict)
    content: ContentStatus | None = None
    transfers: TransferStatus | None = None
    drain: DrainStatus | None = None
    load: float | None = None
    chosen: Mapping[tuple[int, int], Chosen] = field(default_factory=dict)
    """(peer number, number of the set) -> why it was chosen."""
    redundancy: tuple[RedundancyStatus, ...] = ()
