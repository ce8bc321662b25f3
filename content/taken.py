"""A connection that was transferred to this content proxy."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import trio

from braid.status.flow import FlowStatus
from braid.streams import RESETS
from braid.tcp.record import encode_record
from braid.tcp.repair import FreezeError, build_encoded, dissolve, freeze, start
from braid.transfer import fits, numbers_of
from braid.tun import DEVICE
from content.policy import SAFE
from content.wire import Gone, Keeping, Unkept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from braid.tcp.record import TcpRecord
    from braid.transfer import Numbers, TransferRequest
    from content.agent import State
    from content.cache import Ready
    from content.message import Request
    from content.prepared import Prepared
    from content.sites import Site
    from topology.model import IPAddress, SocketAddress


class Keep(Protocol):
    """Makes ready to have a connection kept that cannot emit, and gets no packets yet, with what ``adopt`` needs of it.
    What it returns does, and is called before the connection may emit."""

    def __call__(self, opened: socket.socket, client: str, vip: str, data: bytes) -> Callable[[], Keeping]: ...


class ServeTls(Protocol):
    """Serves a client that begins with TLS, to its end; ``sent`` hears of bytes of answers, and it may be ``idle`` for
    so many seconds."""

    async def __call__(
        self, stream: trio.SocketStream, client: IPAddress, sent: Callable[[int], None], idle: float
    ) -> None: ...


class Found(NamedTuple):
    """By what the request is answered with which a connection comes."""

    asked: Request
    site: Site
    closes: bool
    """The connection is to end behind the answer."""
    ready: Ready | None
    """None: the origin is asked, by this node."""
    length: int
    """Bytes of the request."""


@dataclass(eq=False, slots=True)
class Taken:
    """One transfer for which a socket was built."""

    id: bytes
    application: str
    client: SocketAddress
    vip: SocketAddress
    edge: str
    region: str
    """Of the edge."""
    gateway: str
    tls: bool
    """It begins with a ClientHello, and cannot go back: only this node has its keys then."""
    socket: socket.socket
    began: float
    active: float
    """When the last byte was sent."""
    served: int = 0
    """Requests."""
    spoke: bool = False
    """The client has got something, by this process or by one before."""
    bytes_out: int = 0
    decided: trio.Event = field(default_factory=trio.Event)
    """Whether the gateway takes it back; a new one for each time it is asked."""
    gone: bool = False
    heard: bool = True
    """The gateway, if it was asked to take it back, said that it does not."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Of its service."""
    found: Found | None = None
    facts: bytes = b""
    """What the next worker would need of it, from ACCEPT on."""
    prepared: Prepared | None = None
    """Its first answer, made before its socket may emit."""
    leave: Callable[[], bool] = lambda: False
    """As of ``ClientConnection``."""
    keep: Callable[[], Keeping] = Unkept
    """As of ``Keep``, from ACCEPT on."""
    keeping: Keeping = field(default_factory=Unkept)

    def may_answer(self, asked: Request | None) -> None:
        """After the gateway was asked to take it back. ``Gone``, and it is to be reset, where the gateway may have
        passed the request on; the RST does not reach a client that the gateway serves."""
        if not self.heard and asked is not None and asked.method not in SAFE:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            raise Gone

    def drop(self) -> None:
        """Close it so that nobody hears of it."""
        dissolve(self.socket)
        if self.prepared is not None:
            self.prepared.close()


def build_for(
    request: TransferRequest, record: TcpRecord, gateway: str, served: Iterable[Taken], device: str = DEVICE
) -> socket.socket:
    """A frozen socket, as a gateway asks. OSError. One of the same connection that is ``served`` ends in silence if the
    gateway is the same: it would have nothing to offer otherwise.

    It is bound to the TUN, with which it falls silent: the next process of this node begins by removing what keeps the
    host from sending the FIN of a killed one by another way.
    """
    # The gateway's frozen socket may have acknowledged since, by a clock that went on: ours must be ahead.
    try:
        return build_encoded(request.record, record, device, request.deadline)
    except OSError:
        ends = record.remote, record.local, gateway
        over = next((each for each in served if (each.client, each.vip, each.gateway) == ends), None)
        if over is None:
            raise
        # Whoever serves it hears of it, and closes what is left.
        dissolve(over.socket.dup())
    return build_encoded(request.record, record, device, request.deadline)


def frozen_of(taken: Taken) -> tuple[Numbers, bytes] | None:
    """Its numbers and record, for the gateway to have it. None where that cannot: the socket lives on."""
    try:
        record = freeze(taken.socket)
    except FreezeError:
        return None
    data = encode_record(record)
    if record.unsent or not fits(b" ", data):
        start(taken.socket)
        return None
    return numbers_of(record), data


def flow_of(taken: Taken, state: State | None, now: float) -> FlowStatus:
    requests = "1 request" if taken.served == 1 else f"{taken.served} requests"
    return FlowStatus(
        application=taken.application,
        protocol="tcp",
        client=str(taken.client),
        vip=str(taken.vip),
        snat="",
        target="",
        edge=taken.edge,
        state="ended" if state is None else state.value,
        idle_s=max(0.0, now - taken.active),
        packets_in=0,
        packets_out=0,
        bytes_in=0,
        bytes_out=taken.bytes_out,
        mode="transferred",
        why=f"TLS, by {taken.gateway}" if taken.tls else f"{requests} from the store, by {taken.gateway}",
    )
