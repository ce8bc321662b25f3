"""What the device's side of the transfer protocol (``gateway.transfer.agent``) wants done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.transfer import Reason, Send, TransferAbort

if TYPE_CHECKING:
    from braid.transfer import How, Numbers, TransferMessage
    from braid.transfer_progress import Seen


@dataclass(frozen=True, slots=True)
class Release:
    """What was held goes to the origin."""

    id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class AskEdge:
    """Have the edge send the client's packets there; None is back to us. ``Agent.receive_steered`` takes its answer."""

    id: bytes
    order: int
    node: int | None


@dataclass(frozen=True, slots=True)
class Confirm:
    """Proxy and edge are ready. Is the connection held, and still what was offered? ``Agent.confirmed`` hears of it."""

    id: bytes


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The edge sends the proxy what the client sends: the connection is no longer here. Its socket goes in silence,
    what was held is late."""

    id: bytes
    peer: int


@dataclass(frozen=True, slots=True)
class EndServer:
    """End the first connection at the server; its packets are suppressed."""

    id: bytes
    how: How
    sequence: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Build the connection again, frozen, from the record. ``Agent.taken_back`` says how that went."""

    id: bytes
    numbers: Numbers
    record: bytes


@dataclass(frozen=True, slots=True)
class Resume:
    """The client's packets come here again: let the socket go."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody can go on with it: the edge is silent, or does not let us decide."""

    id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """What comes of the client waits here until ``GoOn`` or ``Lost``; not ``held``: the proxy has it after all."""

    id: bytes
    held: bool


@dataclass(frozen=True, slots=True)
class GoOn:
    """The proxy is gone, the client's packets come here again: go on where it was. ``seen``: by the edge."""

    id: bytes
    seen: Seen | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Tell the proxy that this gateway decides about the connection; it answers as one that has just taken over."""

    id: bytes
    peer: int


Command = Claim | Send | Release | AskEdge | Confirm | GiveUp | EndServer | TakeBack | Resume | Lost | Hold | GoOn


def heard(peer: int, message: TransferMessage) -> list[Command]:
    """A proxy says that it has served a connection to its end until it is told the same."""
    over = isinstance(message, TransferAbort) and message.reason is Reason.ENDED
    return [Send(peer, message)] if over else []
