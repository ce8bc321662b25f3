"""Everything the data plane tells the control plane, as values.

``peer`` is a node number; ``adjacent`` tells a neighbour session from an end-to-end one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Initiation:
    """A peer wants a session. The handshake proved that it holds ``static_key``; ``certificate`` is not verified."""

    id: int
    peer: int
    adjacent: bool
    static_key: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Established:
    """Keys of ``epoch`` are confirmed and in use for sending."""

    peer: int
    adjacent: bool
    epoch: int
    initiator: bool


@dataclass(frozen=True, slots=True)
class Up:
    """Valid packets arrive from a peer that was silent or new."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Down:
    """Nothing valid arrived for the silence limit."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Rekey:
    """The packet limit of the current keys is near."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Control:
    """One control message, authenticated and never seen before; not decoded."""

    peer: int
    adjacent: bool
    message: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The data thread ended with this message; the node must exit."""

    message: str


CoreEvent = Initiation | Established | Up | Down | Rekey | Control | Failed
