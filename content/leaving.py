"""Connections that were transferred here go back when this node ends, some at a time: thousands at once would keep the
worker from giving a sign of life, and their gateways from hearing all that is said to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from content.taken import Taken

MOST = 64
"""That are on their way back at one time."""
LOOK = 0.02
"""Seconds between two looks at which of them can go."""


class Leaving:
    """``taken``: those that are here now. Each that is told to leave holds one of ``ways`` until it has gone, or
    stays."""

    def __init__(self, taken: Callable[[], Iterable[Taken]]) -> None:
        self.ways = trio.CapacityLimiter(MOST)
        self._taken = taken
        self._begun = trio.Event()

    def begin(self) -> None:
        self._begun.set()

    async def run(self) -> NoReturn:
        """Who waits for his turn is served meanwhile, and goes back with a request."""
        await self._begun.wait()
        while True:
            for taken in list(self._taken()):
                async with self.ways:
                    leaves = taken.leave()
                if leaves:
                    # It takes the way.
                    await trio.lowlevel.checkpoint()
            await trio.sleep(LOOK)
