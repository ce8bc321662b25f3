"""Waking a task for the next timeout of what others feed meanwhile, and not for each thing that it is fed."""

from __future__ import annotations

import trio


class Alarm:
    """For one task that waits; times are trio's."""

    def __init__(self) -> None:
        self._waiting: trio.CancelScope | None = None

    async def wait(self, due: float) -> None:
        """Until then, or until the earliest time that ``set`` has named meanwhile."""
        with trio.CancelScope(deadline=due) as self._waiting:
            await trio.sleep_forever()
        self._waiting = None

    def set(self, due: float) -> None:
        """It is due then, or before: waking up too early, once in a while, costs less than to move it with each
        message."""
        if self._waiting is not None and due < self._waiting.deadline:
            self._waiting.deadline = due
