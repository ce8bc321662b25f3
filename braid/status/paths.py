"""Paths as a node shows them: each one, the sets that packets take, and what comes over those of others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One path as this node uses it; the peer chooses the reverse direction itself.

    ``kept`` and ``eliminated`` count copies *received* from the peer through the neighbour that is the first hop of
    this path: the first ones, and the ones that came second and were dropped.
    """

    peer: str
    id: int
    route: tuple[str, ...]
    """Nodes after this one, next hop first, peer last."""
    regions: tuple[str, ...]
    """Intermediate regions crossed, in order."""
    up: bool
    rtt_ms: float | None
    copies_sent: int
    bytes_sent: int
    unsent: int
    """Copies that could not be sent: no session with the first hop, or a full socket."""
    kept: int
    eliminated: int
    in_use: bool = True
    """False: known from before, not among the paths chosen now."""
    detail: str = ""
    """Why it is down, when it is known."""
    one_way_ms: float | None = None
    jitter_ms: float | None = None
    loss: float | None = None
    since: float | None = None
    """Unix time since when its state is what it is."""
    one_way_error_ms: float | None = None
    """By how much ``one_way_ms`` may be wrong, because two clocks are compared."""
    reported: int = 0
    """Copies whose fate the peer has reported, probes included, and how many of them it did not receive."""
    lost: int = 0
    probes: int = 0
    probes_lost: int = 0
    loss_bursts: int = 0
    """Times that one or more probes in a row were lost."""
    loss_burst: float | None = None
    """Mean length of those in probes, a tenth of a second each; None before the first."""
    spare: bool = False
    """It stands by for one of the paths in use."""
    active: bool = True
    """Packets take it now."""
    health: str = "passing"
    """"passing", "silent", or "returning": heard again, but not for long enough to be trusted."""
    trouble: str = ""
    """As of a neighbour."""
    silent: bool = False
    """It was found to deliver nothing and has not delivered since, in use or avoided for it."""
    mtu: int | None = None
    """Bytes of the largest inner packet that it carries, as far as is known."""
    mtu_state: str = ""
    """Of the search for it: "base" (configured, not proved yet), "searching", "complete" or "error" (not even 1280)."""
    mtu_since: float | None = None
    """Unix time since when it carries packets of all sizes, or does not."""
    mtu_configured: int | None = None
    """Bytes of the largest packet that there is: the MTU of the TUN."""
    mtu_probe_bytes: int = 0
    """Sent to find out."""


@dataclass(frozen=True, slots=True)
class PathSetStatus:
    """Paths to a peer that the packets of some applications take."""

    peer: str
    number: int
    """That of the copies, or an application's own: ``braid.desired``."""
    mtu: int
    """Bytes of the largest packet that all of them carry; larger ones are cut, or their senders told."""
    active: tuple[int, ...]
    """Ids of the paths that they take now."""
    why: str = ""
    """"cheapest disjoint pair; runner-up via mid-lon +4 ms"; empty where they are chosen by what they lose."""
    joint_probes: int = 0
    """Probes of the last ten minutes on the two of the paths that lost least together, and those lost on both."""
    joint_lost: int = 0


@dataclass(frozen=True, slots=True)
class ReceivedStatus:
    """One path of a peer towards this node; ``id`` is the peer's path id."""

    peer: str
    id: int
    via: str
    """The neighbour that handed the copies over."""
    kept: int
    eliminated: int
    first_share: float | None = None
    """0..1: of the peer's packets of the last minute, those whose first copy came this way. None: none came."""
    reordered: int = 0
    """Copies that came behind a later one of the same path."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the runtime knows of a set of paths, as in ``PathSetStatus``."""

    why: str
    joint_probes: int
    joint_lost: int


@dataclass(frozen=True, slots=True)
class PathHealth:
    """What the runtime knows of a whole path beyond its first hop."""

    up: bool
    rtt_ms: float | None = None
    detail: str = ""
