"""Connections that content proxies have, and of which the sibling has yet to hear that it decides about them: a few at
a time, said again until it has answered. Pure.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

AT_ONCE = 32
RESEND = 0.05
PATIENCE = 5.0
"""Seconds without an answer after which a connection stays this gateway's."""


class Entrusting:
    def __init__(self) -> None:
        self._waiting: dict[bytes, None] = {}
        self._under_way: dict[bytes, tuple[float, float]] = {}
        """When it was said first, and when it is due again."""
        self._refused: set[bytes] = set()

    def __len__(self) -> int:
        """Of which an answer is to come."""
        return len(self._waiting) + len(self._under_way)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._waiting or id_ in self._under_way

    def add(self, ids: Iterable[bytes]) -> None:
        """Those that were refused stay."""
        self._waiting.update((id_, None) for id_ in ids if id_ not in self._under_way and id_ not in self._refused)

    def again(self, id_: bytes) -> None:
        """There is more to say of it than what may be under way."""
        self._waiting[id_] = None

    def due(self, now: float) -> list[bytes]:
        """What is to be said now; to be called whenever something has changed. What nobody answers is refused."""
        for _ in range(min(len(self._waiting), AT_ONCE - len(self._under_way))):
            id_ = next(iter(self._waiting))
            del self._waiting[id_]
            if id_ in self._under_way:
                self._waiting[id_] = None
            else:
                self._under_way[id_] = (now, now)
        found = []
        for id_, (first, at) in list(self._under_way.items()):
            if now - first >= PATIENCE:
                self.answered(id_, done=False)
            elif at <= now:
                self._under_way[id_] = (first, now + RESEND)
                found.append(id_)
        return found

    def next_timeout(self) -> float:
        return min((at for _, at in self._under_way.values()), default=inf)

    def answered(self, id_: bytes, *, done: bool) -> None:
        if self._under_way.pop(id_, None) is not None and not done:
            self._waiting.pop(id_, None)
            self._refused.add(id_)

    def forget(self, id_: bytes) -> None:
        """It is over here."""
        self._waiting.pop(id_, None)
        self._under_way.pop(id_, None)
        self._refused.discard(id_)
