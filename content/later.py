"""What is to be done for those that ask next, when those that asked have their answer. In order, bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE = 0.02
"""Seconds: where somebody waits for the origin nothing else is to have the processor."""
MOST = 1000


class Later:
    def __init__(self) -> None:
        self._add, self._take = trio.open_memory_channel[tuple[float, "Callable[[], None]"]](MOST)

    async def run(self) -> NoReturn:
        """Never returns; what is done raises through it."""
        while True:
            due, do = await self._take.receive()
            await trio.sleep_until(due)
            do()

    def add(self, do: Callable[[], None]) -> bool:
        """False: it is left, as too much waits."""
        try:
            self._add.send_nowait((trio.current_time() + PAUSE, do))
        except trio.WouldBlock:
            return False
        return True
