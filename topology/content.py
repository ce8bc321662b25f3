"""What a content proxy serves, and what it may use for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.address import SocketAddress
    from topology.tls import Tls

MEGABYTE = 1_000_000
OPERATOR_SOCKET = "operator.sock"
"""In the content directory: where `braid content` reaches the running node."""


@dataclass(frozen=True, slots=True)
class ContentSettings:
    listen: tuple[SocketAddress, ...]
    directory: str
    """Absolute; where answers are kept."""
    applications: tuple[str, ...]
    """Whose hostnames it may answer for."""
    edges: tuple[str, ...]
    """Edge regions through which the origins are reached, the preferred one first."""
    size: int
    """Bytes of disk for all answers."""
    largest: int
    """Bytes of one answer; larger ones are passed on and not kept."""
    connections: int
    """Of clients at one time; those beyond are closed."""
    tls: Tls | None = None
    """TLS of clients ends here, on ``tls_listen`` and on connections that are transferred."""
    tls_listen: tuple[SocketAddress, ...] = ()
    origin_ca: str = ""
    """File with the authorities of origins' certificates; empty: those of the system."""
