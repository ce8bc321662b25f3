"""How far a gateway's drain is, and what that means for the data plane and the host's addresses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from braid.desired import SiblingChoice
from braid.moves import Phase

if TYPE_CHECKING:
    from topology.model import IPNetwork


class State(Enum):
    """Of the gateway that is drained."""

    COPYING = "copying"
    """Its flows are told to the sibling, and go on here."""
    LEAVING = "leaving"
    """What begins anew begins at the sibling."""
    FOLLOWING = "following"
    """Clients and servers talk to the sibling; what still comes here goes on."""
    AWAY = "away"
    RETURNING = "returning"
    """The sibling tells the flows back."""
    RETURNED = "returned"
    """Clients and servers talk to this gateway again."""
    HOME = "home"
    """All is as before; what clients began at the sibling goes on there."""


PHASES = {
    State.COPYING: Phase.COPYING,
    State.LEAVING: Phase.COPYING,
    State.FOLLOWING: Phase.ANNOUNCED,
    State.AWAY: Phase.AWAY,
    State.RETURNING: Phase.RETURNING,
    State.RETURNED: Phase.RETURNED,
    State.HOME: Phase.ENDED,
}
MOVING = frozenset({State.COPYING, State.LEAVING, State.FOLLOWING, State.RETURNING, State.RETURNED})
LEAVES = frozenset({State.LEAVING, State.FOLLOWING, State.AWAY, State.RETURNING})
GIVES = frozenset({State.LEAVING, State.FOLLOWING, State.AWAY})
"""What asks the control side is the sibling's."""
LENT = frozenset({State.FOLLOWING, State.AWAY, State.RETURNING})
"""The sibling answers for the pools."""
PHASES_MOVING = frozenset({Phase.COPYING, Phase.ANNOUNCED, Phase.RETURNING, Phase.RETURNED})
PHASES_GIVING = frozenset({Phase.RETURNING, Phase.RETURNED})
"""The same, the other way round."""
HOLDS_POOLS = frozenset({Phase.ANNOUNCED, Phase.AWAY, Phase.RETURNING})


@dataclass(frozen=True, slots=True)
class Standing:
    """What a drain changes at a gateway, as lender or as host."""

    sibling: SiblingChoice | None = None
    moving: bool = False
    guests: tuple[IPNetwork, ...] = ()
    """Pools of another gateway whose flows are here."""
    lent: bool = False
    """This gateway's own pools are answered for elsewhere."""
    holds: bool = False
    """The guests' pools are answered for here."""


AT_HOME = Standing()


def of_lender(state: State, sibling: int) -> Standing:
    return Standing(SiblingChoice(sibling, state in LEAVES), state in MOVING, lent=state in LENT)


def of_host(phase: Phase, lender: int, asks: bool, pools: tuple[IPNetwork, ...]) -> Standing:
    if phase is Phase.ENDED:
        return AT_HOME
    moving = phase in PHASES_MOVING
    sibling = SiblingChoice(lender, leaving=False) if asks or moving else None
    return Standing(sibling, moving, pools, holds=phase in HOLDS_POOLS)
