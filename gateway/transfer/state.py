"""A transfer as the device's agent (``gateway.transfer.agent``) knows it.

::

    (nothing) --begin--> ASKING --accept--> STEERING --steered--> COMMITTED --terminate--> MOVED
                           |                   |                      |                      |
                           | refuse, mismatch, | the same,            | abort, silent        | return
                           v silent            v edge silent          v                      v
                         ENDED               ENDED                  ENDED <--edge silent-- RETAKING --steered--> BACK

    COMMITTED, MOVED --proxy gone, or missed by the edge--> RESCUING --steered--> ENDED, and it goes on here
    the same, while many others are RESCUING --> MISSED --its turn--> RESCUING
    RESCUING, RECLAIMING --edge reaches a proxy that has begun--> MOVED
    MOVED --the sibling has it--> ENTRUSTED; the sibling begins with MOVED, and claims it from the proxy
    RESCUING --edge reaches a proxy that may never have begun--> RECLAIMING --steered, it has not spoken--> the same
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from braid.transfer import RESEND, Send, TransferAbort

if TYPE_CHECKING:
    from braid.transfer import Reason, Returned, Terminated, TransferRequest
    from gateway.transfer.commands import AskEdge

FOREVER = float("inf")
ASK_FOR = 0.1
"""Seconds that a proxy is asked for. The client waits meanwhile."""
STEER_FOR = 0.12
"""Seconds from the first question on in which proxy and edge have to agree."""
COMMIT_FOR = 2.0
"""Seconds in which a proxy that accepted has to take over, and an edge to say that it heard of the way back."""
SLOWEST_CLAIM = 15.0
"""Seconds between two times that a proxy is told who decides about its connections. Nobody waits."""
LONGEST = 7500.0
"""Seconds after which a connection that was moved is forgotten, should nobody say that it is over."""


class State(Enum):
    ASKING = "asking"
    STEERING = "steering"
    COMMITTED = "committed"
    MOVED = "moved"
    RETAKING = "retaking"
    BACK = "back"
    MISSED = "missed"
    RESCUING = "rescuing"
    RECLAIMING = "reclaiming"
    ENTRUSTED = "entrusted"
    ENDED = "ended"


OVER = (State.ENDED, State.BACK, State.ENTRUSTED)


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
    steer_pause: float = RESEND
    steer_until: float = 0.0
    """It is asked no longer."""
    claimed: bool = True
    """The proxy knows that this gateway decides."""
    terminated: Terminated | None = None
    returned: Returned | None = None

    def abort(self, reason: Reason) -> Send:
        """What tells the proxy that it is over here."""
        return Send(self.peer, TransferAbort(self.request.id, reason))
