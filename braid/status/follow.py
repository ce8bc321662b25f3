"""The beat of a node's memory: one snapshot per second."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 1.0
"""Seconds. What a snapshot costs is measured in docs/status.md."""


async def follow(record: Callable[[float], None]) -> NoReturn:
    """Call ``record`` with trio's time each second. Never returns."""
    while True:
        record(trio.current_time())
        await trio.sleep(EVERY - trio.current_time() % EVERY)
