"""What content proxies have yet to drop, since an unsafe request for it has succeeded here. Pure: times in, messages
out.

It is said until the proxy has answered, and is not offered to it meanwhile. A proxy that cannot be reached is offered
nothing either; one that answers to nobody for so long that there is no more room, or ``FOR`` seconds, keeps what it has
until that is stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.outdated import Outdated, encode
from braid.repeated import Repeated, Say

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWEST = 2.0
FOR = 3600.0
MOST = 10_000


class OutdatedTable:
    """``count`` hears ``outdated`` for each key and proxy, and ``outdated_lost`` for those that are given up; ``mark``
    by proxy and key whether the proxy may still store what was there before."""

    def __init__(self, count: Callable[[str], None], mark: Callable[[int, str, bool], None] = lambda *_: None) -> None:
        self._count = count
        self._mark = mark
        self._said = Repeated(SLOWEST, FOR)
        self._keys: dict[bytes, tuple[int, str]] = {}
        """By id: proxy and key."""
        self._ids: dict[tuple[int, str], bytes] = {}
        """By proxy and key: the last one, as only its answer says that the key has been dropped since."""

    def __len__(self) -> int:
        return len(self._said)

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
        known = self._ids.get((peer, key))
        if known is not None:
            self._forget(known)
        elif len(self._said) >= MOST:
            self._count("outdated_lost")
            self._forget(self._said.oldest())
        self._said.begin(id_, say, now)
        self._keys[id_] = peer, key
        self._ids[peer, key] = id_
        self._mark(peer, key, True)
        return [say]

    def dropped(self, peer: int, id_: bytes) -> str | None:
        """A proxy has dropped what was said by that id: the key. None: that is of no interest any more."""
        if self._said.peer(id_) != peer:
            return None
        _, key = self._keys[id_]
        self._forget(id_)
        return key

    def handle_timeout(self, now: float) -> list[Say]:
        again, given_up = self._said.handle_timeout(now)
        for id_ in given_up:
            self._count("outdated_lost")
            self._forget(id_)
        return again

    def next_timeout(self) -> float:
        return self._said.next_timeout()

    def _forget(self, id_: bytes) -> None:
        self._said.end(id_)
        known = self._keys.pop(id_)
        del self._ids[known]
        self._mark(*known, False)
