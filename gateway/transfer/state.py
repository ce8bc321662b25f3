"""A transfer as the device's agent (``gateway.transfer.agent``) knows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from braid.transfer import RESEND, Send, TransferAbort

if TYPE_CHECKING:
    from braid.transfer import Reason, Returned, Terminated, TransferRequest
    from gateway.transfer.commands import AskEdge

FOREVER = float("inf")


class State(Enum):
    ASKING = "asking"
    STEERING = "steering"
    COMMITTED = "committed"
    MOVED = "moved"
    RETAKING = "retaking"
    BACK = "back"
    RESCUING = "rescuing"
    RECLAIMING = "reclaiming"
    ENDED = "ended"


OVER = (State.ENDED, State.BACK)


@dataclass(slots=True)
class Transfer:
    peer: int
    request: TransferRequest
    state: State
    asked: float
    began: float
    """When the state did."""
    due: float
    pause: float = RESEND
    steer: AskEdge | None = None
    """What the edge has not confirmed."""
    steered: bool = False
    """The edge sends the client's packets to the proxy, and said so."""
    steer_due: float = FOREVER
    steer_until: float = 0.0
    """It is asked no longer."""
    terminated: Terminated | None = None
    returned: Returned | None = None

    def abort(self, reason: Reason) -> Send:
        """What tells the proxy that it is over here."""
        return Send(self.peer, TransferAbort(self.request.id, reason))
