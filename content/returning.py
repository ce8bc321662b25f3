"""The way back of a connection that was transferred here: for a request that is not to be answered here, or whose
origin is out of reach from here, and may not be from its gateway; and for whatever comes when this node ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from braid.tcp.repair import unsettled
from content.carry import Answering, Source
from content.taken import frozen_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from braid.role import Situation
    from braid.transfer import Numbers
    from content.judging import Judge
    from content.message import Request
    from content.taken import Taken

    class Own(Protocol):
        """Whether the core took note of who has the connection now."""

        def __call__(self, taken: Taken, owner: str, *, wait: bool = False) -> bool: ...

    GiveBack = Callable[[Taken, Numbers, bytes], None]
    """Offers it to the gateway; what comes of it, ``taken.decided`` tells."""


BACK = Answering(source=Source.BACK)


class Returning:
    """Of one connection; its server asks before each answer (``content.connection.Elsewhere``)."""

    def __init__(
        self,
        taken: Taken,
        judge: Judge,
        situation: Callable[[], Situation],
        own: Own,
        give_back: GiveBack,
        draining: Callable[[], bool],
        ways: trio.CapacityLimiter,
    ) -> None:
        """``ways``: of those for which no client waits so many go back at one time."""
        self.stays = False
        """The gateway was not there to take it back, or has not."""
        self._taken = taken
        self._judge = judge
        self._situation = situation
        self._own = own
        self._give_back = give_back
        self._draining = draining
        self._ways = ways

    async def before(self, asked: Request | None) -> bool:
        taken, situation = self._taken, self._situation()
        taken.served += 1
        if taken.served == 1:
            return False
        if asked is not None and not self._draining() and self._keeps(situation, asked):
            return False
        if await self._return():
            return True
        taken.may_answer(asked)
        return False

    async def failed(self, asked: Request) -> bool:
        # The gateway offers it again, or one like it, and is to serve it itself.
        self._judge.out_of_reach(asked)
        return await self._return()

    async def leave(self) -> bool:
        self.stays = False
        async with self._ways:
            return not unsettled(self._taken.socket.fileno()) and await self._return()

    def _keeps(self, situation: Situation, asked: Request) -> bool:
        taken = self._taken
        return self._judge.keeps(situation, asked, taken.application, taken.client, taken.region)

    async def _return(self) -> bool:
        taken = self._taken
        taken.heard = True
        self.stays = not self._situation().links.neighbour_up(taken.gateway)
        if self.stays or not self._own(taken, "held", wait=True):
            return False
        taken.keeping.told(BACK)
        data = frozen_of(taken)
        if data is None:
            self._own(taken, "here")
        else:
            taken.decided = trio.Event()
            self._give_back(taken, *data)
            await taken.decided.wait()
            self.stays = not taken.gone
        if not taken.gone:
            taken.keeping.settled()
        return taken.gone
