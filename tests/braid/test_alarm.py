"""A task that waits for the next timeout of what others feed."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from braid.alarm import Alarm

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_it_waits_until_the_earliest_time_that_was_named(autojump_clock: MockClock) -> None:
    alarm, woken, began = Alarm(), [], trio.current_time()

    async def run() -> None:
        for due in (10.0, inf, 30.0):
            await alarm.wait(began + due)
            woken.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        alarm.set(began + 12)
        await trio.sleep(11)
        for due in (25, 20, 22):
            alarm.set(began + due)
    assert woken == [10, 20, 30]


def test_a_time_that_is_named_while_nobody_waits_is_left_to_who_will() -> None:
    Alarm().set(1.0)
