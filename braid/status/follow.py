"""The beat of a node's memory: one snapshot per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from braid.beat import beat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EVERY = 1.0
"""Seconds. ``bench.probing`` measures what it costs."""


async def follow(record: Callable[[float], Iterable[None]]) -> NoReturn:
    """Go through what ``record`` gives for trio's time each second; others run between its pieces. Never returns."""
    while True:
        for _ in record(trio.current_time()):
            await trio.lowlevel.checkpoint()
        await beat(EVERY)
