"""What happens on a proxied connection, as an application proxy is told, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topology.model import SocketAddress, Target


@dataclass(frozen=True, slots=True)
class ClientData:
    """Who is connected, to what and through where."""

    client: SocketAddress
    vip: SocketAddress
    edge: str
    """Node that has the VIP."""
    region: str
    """Region of that edge."""
    application: str
    tls: bool = False
    """Its TLS ended here; ``sni`` and ``alpn`` are of that: the name asked for, the protocol agreed on."""
    sni: str = ""
    alpn: str = ""


@dataclass(frozen=True, slots=True)
class ServerData:
    """The server that a server selection policy chose."""

    target: Target
    address: SocketAddress
    why: str
    """The verdict in words: "rule 2, round_robin"."""
    cookie: str = ""
    """``Set-Cookie`` value that keeps the client at this server; empty when it has it already, or needs none."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a server is selected by. Of a connection without requests only the first three are known."""

    client_data: ClientData
    sni: str = ""
    alpn: tuple[str, ...] = ()
    method: str = ""
    host: str = ""
    """Lower case, without port."""
    path: str = ""
    """Without the query."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names; several of one name joined by a comma and a space."""

    def cookies(self) -> dict[str, str]:
        pairs = (part.partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    def parameters(self) -> dict[str, str]:
        """Of the query, decoded."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            found.setdefault(name, value)
        return found


@dataclass(frozen=True, slots=True)
class ClientConnection:
    """The client connection event: a client's connection is established."""

    client_data: ClientData


@dataclass(frozen=True, slots=True)
class ClientPackets:
    """Data packets from the client connection: their bytes, in order."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ClientClosed:
    """The client sends nothing more; it may still read."""


@dataclass(frozen=True, slots=True)
class ServerEstablished:
    """The server establishment event."""

    server_data: ServerData


@dataclass(frozen=True, slots=True)
class ServerPackets:
    """Data packets from the server connection."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ServerClosed:
    """The server sends nothing more."""


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """No connection to the server, or it broke, or no answer in time."""

    server_data: ServerData
    reason: str


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The client did not send in time what a server can be selected by."""


@dataclass(frozen=True, slots=True)
class Abort:
    """The client's connection is gone."""

    reason: str


Event = (
    ClientConnection
    | ClientPackets
    | ClientClosed
    | ServerEstablished
    | ServerPackets
    | ServerClosed
    | ServerFailed
    | TimedOut
    | Abort
)


@dataclass(frozen=True, slots=True)
class SendClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class EndServer:
    """Nothing more goes to the server once the client transmit buffer is empty (FIN)."""


@dataclass(frozen=True, slots=True)
class CloseServer:
    """The server connection is of no more use."""


@dataclass(frozen=True, slots=True)
class EndClient:
    """Nothing more goes to the client (FIN); it may go on sending."""


@dataclass(frozen=True, slots=True)
class CloseClient:
    """The connection is over when everything has been sent."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the client's connection: with an answer, or with a reset when there is none. Counted by reason."""

    reason: str
    answer: bytes = b""
    served: Served | None = None
    """The request that has no whole answer of a server, for the access log."""


@dataclass(frozen=True, slots=True)
class Served:
    """One request and its answer are through, for access log and counters."""

    request: Request
    server_data: ServerData | None
    status: int
    """0: the client has none."""
    target: str
    bytes_out: int
    refused: str = ""
    """The reason, in a word; of such a one the access log alone is told."""


Command = SendClient | EndServer | CloseServer | EndClient | CloseClient | Refuse | Served
