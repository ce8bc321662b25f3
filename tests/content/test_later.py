"""What is done a moment later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from content.later import MOST, PAUSE, Later

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_each_thing_is_done_in_order_a_moment_after_it_was_added(autojump_clock: MockClock) -> None:
    later, done = Later(), []

    def add(name: str) -> bool:
        return later.add(lambda: done.append((name, round(trio.current_time() - began, 3))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later.run)
        began = trio.current_time()
        assert add("a")
        await trio.sleep(PAUSE / 2)
        assert add("b")
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert done == [("a", PAUSE), ("b", PAUSE * 1.5)]


async def test_what_is_too_much_is_left() -> None:
    later = Later()
    assert all(later.add(lambda: None) for _ in range(MOST))
    assert not later.add(lambda: None)
