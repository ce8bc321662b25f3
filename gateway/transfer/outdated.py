"""What content proxies have yet to drop, since an unsafe request for it has succeeded here. Pure: times in, messages
out.

It is said until the proxy has answered, and is not offered to it meanwhile. A proxy that cannot be reached is offered
nothing either; one that answers to nobody for so long that there is no more room, or ``FOR`` seconds, keeps what it has
until that is stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from braid.deadlines import Deadlines
from braid.outdated import Outdated, encode

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN = 0.04
"""Seconds until it is said again for the first time."""
SLOWEST = 2.0
FOR = 3600.0
MOST = 10_000


class Say(NamedTuple):
    peer: int
    message: bytes


@dataclass(slots=True)
class _Waiting:
    key: str
    say: Say
    until: float
    pause: float = AGAIN


class OutdatedTable:
    """``count`` hears ``outdated`` for each key and proxy, and ``outdated_lost`` for those that are given up."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._waiting: dict[bytes, _Waiting] = {}
        """By id, the oldest first."""
        self._ids: dict[tuple[int, str], bytes] = {}
        """By proxy and key: the last one, as only its answer says that the key has been dropped since."""
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._waiting)

    def has(self, peer: int, key: str) -> bool:
        """Whether the proxy may still store what was there before."""
        return (peer, key) in self._ids

    def add(self, peer: int, key: str, id_: bytes, now: float) -> list[Say]:
        """It has changed. An id is used once."""
        self._count("outdated")
        try:
            say = Say(peer, encode(Outdated(id_, key)))
        except ValueError:
            # No request that is so long is offered.
            self._count("outdated_lost")
            return []
        known = self._ids.pop((peer, key), None)
        if known is not None:
            self._forget(known)
        elif len(self._waiting) >= MOST:
            self._count("outdated_lost")
            self._forget(next(iter(self._waiting)))
        self._waiting[id_] = _Waiting(key, say, now + FOR)
        self._ids[peer, key] = id_
        self._deadlines.set(id_, now + AGAIN)
        return [say]

    def dropped(self, peer: int, id_: bytes) -> str | None:
        """A proxy has dropped what was said by that id: the key. None: that is of no interest any more."""
        waiting = self._waiting.get(id_)
        if waiting is None or waiting.say.peer != peer:
            return None
        self._forget(id_)
        return waiting.key

    def handle_timeout(self, now: float) -> list[Say]:
        again: list[Say] = []
        for id_ in self._deadlines.passed(now):
            waiting = self._waiting[id_]
            if now >= waiting.until:
                self._count("outdated_lost")
                self._forget(id_)
                continue
            again.append(waiting.say)
            waiting.pause = min(waiting.pause * 1.5, SLOWEST)
            self._deadlines.set(id_, now + waiting.pause)
        return again

    def next_timeout(self) -> float:
        return self._deadlines.next()

    def _forget(self, id_: bytes) -> None:
        waiting = self._waiting.pop(id_)
        self._ids.pop((waiting.say.peer, waiting.key), None)
        self._deadlines.set(id_, None)
