"""TLS that ends in a node: which certificates, protocols and versions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TlsVersion(StrEnum):
    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


HTTP_2, HTTP_1_1 = "h2", "http/1.1"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of the node, beside the topology file where the names are relative."""

    certificate: str
    """The chain in PEM, the server's own first."""
    key: str


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of clients ends in the node."""

    certificates: tuple[Certificate, ...]
    """Each for the names that it says; the first one also for all others."""
    minimum: TlsVersion = TlsVersion.TLS_1_2
    alpn: tuple[str, ...] = ()
    """Protocols that are agreed on, in order of preference."""
