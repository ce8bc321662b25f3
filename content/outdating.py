"""What gateways say that has changed is dropped, one after the other, and then they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from braid.outdated import Dropped, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from braid.outdated import Outdated

MOST = 1000
"""That wait. More are said again by their gateways."""


class Outdating:
    """``drop`` returns when nothing is stored under a key, and nothing will be that was asked for before."""

    def __init__(self, drop: Callable[[str], Awaitable[None]], tell: Callable[[int, bytes], None]) -> None:
        self._drop = drop
        self._tell = tell
        self._due: dict[bytes, tuple[int, str]] = {}
        """By id, in order."""
        self._more = trio.Event()

    def add(self, peer: int, message: Outdated) -> bool:
        """False: it is left, as too much waits."""
        if len(self._due) >= MOST and message.id not in self._due:
            return False
        self._due[message.id] = peer, message.key
        self._more.set()
        return True

    async def run(self, read: trio.Event) -> NoReturn:
        """Begins when the store is ``read``: until then it is not known what is in it. Never returns."""
        await read.wait()
        while True:
            while self._due:
                id_, (peer, key) = next(iter(self._due.items()))
                await self._drop(key)
                del self._due[id_]
                self._tell(peer, encode(Dropped(id_)))
            self._more = trio.Event()
            await self._more.wait()
