"""Of many connections that leave some are on their way at one time, and none waits for those that cannot go yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import trio
import trio.testing

from content.leaving import MOST, Leaving
from tests.content.test_service import until

if TYPE_CHECKING:
    from content.taken import Taken

MANY = 5 * MOST


@dataclass
class Connections:
    nursery: trio.Nursery
    here: dict[int, Connection] = field(default_factory=dict)
    most: int = 0


@dataclass
class Connection:
    number: int
    others: Connections
    ways: trio.CapacityLimiter
    stuck: bool = False
    """Its client has yet to acknowledge something."""
    asks: bool = False

    def leave(self) -> bool:
        if self.asks:
            return False
        self.asks = True
        self.others.nursery.start_soon(self._leave)
        return True

    async def _leave(self) -> None:
        async with self.ways:
            self.others.most = max(self.others.most, int(self.ways.borrowed_tokens))
            await trio.sleep(0.0 if self.stuck else 0.1)
            self.asks = not self.stuck
            if not self.stuck:
                del self.others.here[self.number]


async def test_some_at_a_time_all_leave(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    found = Connections(nursery)
    leaving = Leaving(lambda: cast("list[Taken]", list(found.here.values())))
    for number in range(2 * MANY):
        found.here[number] = Connection(number, found, leaving.ways, stuck=number < MANY)
    nursery.start_soon(leaving.run)
    await trio.sleep(1)
    assert len(found.here) == 2 * MANY
    leaving.begin()
    began = trio.current_time()
    await until(lambda: len(found.here) == MANY)
    assert found.most == MOST
    assert all(connection.stuck for connection in found.here.values())
    assert 0.1 * MANY / MOST <= trio.current_time() - began < 3.0
    for connection in list(found.here.values()):
        connection.stuck = False
    await until(lambda: not found.here)
