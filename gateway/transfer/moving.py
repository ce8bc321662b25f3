"""One transfer of this gateway, and who has its client's socket until a proxy has taken over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from braid.errors import BadPacket
from braid.tcp.progress import is_still
from braid.tcp.record import decode_record
from braid.tcp.repair import dissolve
from braid.transfer import MODULUS, Numbers, is_later, numbers_of, word
from gateway.transfer.stored import ANY

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from socket import socket as Opened

    from braid.tcp.record import TcpRecord
    from braid.transfer import TransferMessage
    from braid.transfer_progress import Promised
    from gateway.normalpath.promotion import Promoted
    from gateway.proxy.relay import Relay
    from gateway.proxy.relayed import RelayedConnection
    from topology.model import SocketAddress

MOST_STEPS = 32
_NOWHERE = Numbers(0, 0)
WRONG = "returned_wrong"


class Holder(Protocol):
    """Has the socket, which is frozen, while its connection is offered."""

    def wait(self, id_: bytes, now: float) -> None:
        """The proxy is asked, by that transfer. It may have refused already: that is told later, all the same."""
        ...

    def go_on(self, now: float) -> bool:
        """The socket lives again: the origin serves. False: the connection is over meanwhile."""
        ...

    def give_up(self) -> None:
        """Close the socket so that nobody hears of it."""
        ...


@dataclass(frozen=True, slots=True)
class OfRelay:
    """A request that waits in the relay."""

    relay: Relay
    connection: RelayedConnection

    def wait(self, id_: bytes, now: float) -> None:
        self.relay.foreseen.expect(self.connection, id_, now)

    def go_on(self, now: float) -> bool:
        if self.connection.ended.is_set():
            return False
        self.relay.serve_request(self.connection, now)
        return True

    def give_up(self) -> None:
        self.relay.give_up(self.connection)


@dataclass(eq=False, slots=True)
class Moving:
    """One transfer, from the offer until the agent has forgotten it."""

    id: bytes
    application: str
    client: SocketAddress
    vip: SocketAddress
    edge: str
    proxy: str
    peer: int
    """Number of the proxy."""
    content: str
    began: float
    offered: float
    """Unix seconds of the same moment."""
    holder: Holder | None
    """Until the proxy has the connection, or the origin goes on."""
    may_return: bool = True
    """False where only the proxy knows the connection's keys."""
    socket: socket.socket | None = None
    """Frozen: while it is offered, while the proxy has not taken over, and while it comes back."""
    held: Callable[[], bool] = lambda: False
    """Waits until the core holds the client's packets; whether it does."""
    received: int = 0
    """As of ``Offered``."""
    fields: bytes = ANY
    """Of the request."""
    told: Numbers = _NOWHERE
    """How far the proxy has said that it is; at first where the connection left."""
    bytes_in: int = 0
    bytes_out: int = 0
    """Since it left, as far as that."""
    entrusted: bool = False
    """By another gateway, which offered it."""
    was: Promoted | None = None
    """To the data plane, when it was offered."""
    promoted: Promoted | None = None
    """What it is when it has come back."""
    promised: Promised | None = None
    """What the proxy said last that it sends."""
    served: bool = False
    """By the origin, since the proxy has refused."""
    took: float | None = None
    """Seconds from the offer until the proxy served."""
    said: list[tuple[float, str, str, type[TransferMessage]]] = field(default_factory=list)
    """About it: when, from whom, to whom, which message. The first ``MOST_STEPS``."""

    @property
    def guest(self) -> bool:
        """Whether another gateway has had it."""
        return self.entrusted or (self.was is not None and self.was.guest)

    def give_up(self) -> None:
        """The proxy has it. Should the data plane ask about the connection again, it came back by another gateway."""
        if self.holder is not None:
            self.holder.give_up()
            self.holder = None
        if self.was is not None:
            self.was.away = True

    def back(self, built: Opened, promoted: Promoted | None) -> None:
        """It is here again, frozen."""
        self.socket, self.promoted = built, promoted
        self.remember(promoted)

    def remember(self, promoted: Promoted | None) -> None:
        """What it is to the data plane again is what it was."""
        if promoted is not None and self.was is not None:
            promoted.go_on(self.was.life)

    def promise(self, promised: Promised) -> None:
        """The later one counts: what the answer before has ended with is where the next one begins."""
        known = self.promised
        if known is None or not any(
            is_later(one, than)
            for one, than in ((known.first, promised.first), (known.request_end, promised.request_end))
        ):
            self.bytes_out += (promised.first - self.told.send_next) % MODULUS
            self.bytes_in += (promised.request_end - self.told.receive_next) % MODULUS
            self.told = Numbers(promised.first, promised.request_end)
            self.promised = promised

    def returned(self, numbers: Numbers, data: bytes) -> TcpRecord:
        """The connection as it comes back. BadPacket where it is none, or another one."""
        record = decode_record(data)
        ends = record.local, record.remote, numbers
        if not self.may_return or ends != (self.vip, self.client, numbers_of(record)):
            raise BadPacket(WRONG)
        return record

    def problem(self) -> str:
        """Why it is not as it was when it was offered; empty if it is. What came before packets were held would be
        missed by whoever takes it over."""
        if not self.held():
            return "owners_full"
        return "" if self.socket is not None and is_still(self.socket, self.received) else "not_quiescent"

    def dissolve(self) -> None:
        """Close the frozen socket, if there is one; nobody hears of it."""
        if self.socket is not None:
            dissolve(self.socket)
            self.socket = None

    def note(self, now: float, source: str, to: str, message: type[TransferMessage]) -> None:
        if len(self.said) < MOST_STEPS:
            self.said.append((now, source, to, message))

    def steps(self) -> list[tuple[float, str, str, str]]:
        """What was said, with milliseconds since the offer, and the messages by their names in the protocol."""
        return [(round((at - self.began) * 1000, 2), source, to, word(kind)) for at, source, to, kind in self.said]
