"""What content proxies store, by what they say and what they refused, as a gateway knows it. Pure."""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from braid.stored import MOST_WANTED, encode, octets
from dataplane import _native

if TYPE_CHECKING:
    from braid.stored import StoredPages, Wanted

GOOD_FOR = 300.0
"""Seconds after which a page counts no more: a proxy tells each several times meanwhile."""


PAUSE = 0.02
"""Seconds for which a proxy is not told what it lacks: the client waits for the origin, and nothing else is to be
done meanwhile."""
COLD = 2.0
"""Seconds for which a proxy that has not what was asked for is not asked for it again: it may be fetching it."""
ANY = b""
"""Whatever a request's fields are."""
MOST_COLD = 10_000


class Is(Enum):
    STORED = "stored"
    """Most likely."""
    ABSENT = "absent"
    COLD = "cold"
    UNFIT = "unfit"
    """No stored answer is one to this request."""
    OUTDATED = "outdated"
    """It has changed, and the proxy has not said yet that it dropped it (``gateway.transfer.outdated``)."""
    UNKNOWN = "unknown"


class StoredTable:
    """What is known is in Rust, where most requests are decided about (``dataplane/line/src/stored.rs``)."""

    def __init__(self) -> None:
        self.native = _native.Stored(good_for=GOOD_FOR, cold=COLD, most_cold=MOST_COLD)
        self._wanted: deque[tuple[float, str, bytes]] = deque()
        """When a proxy is to be told, which one, and what."""

    def receive(self, peer: int, message: StoredPages, now: float) -> None:
        self.native.receive(peer, message.order, [(page.number, page.bits) for page in message.pages], now)

    def forget(self, peer: int) -> None:
        self.native.forget(peer)

    def remember_cold(self, peer: int, key: str, now: float, fields: bytes = ANY) -> None:
        """The proxy has not what was asked for; with ``fields`` (``fields_of``) it has, but for other requests."""
        self.native.remember_cold(peer, octets(key), now, fields)

    def mark_outdated(self, peer: int, key: str, outdated: bool) -> None:
        """It has changed, and the proxy has yet to say that it dropped it; or not any more."""
        self.native.mark_outdated(peer, octets(key), outdated)

    def want(self, proxy: str, wanted: Wanted, now: float) -> float:
        """A proxy is to be told of that, when the client has its answer, most likely; when the next one is. What is too
        large for a message, or too much, is left: another client may ask."""
        if len(wanted.request) <= MOST_WANTED and len(self._wanted) < MOST_COLD:
            self._wanted.append((now + PAUSE, proxy, encode(wanted)))
        return self.next_timeout()

    def take_wanted(self, now: float) -> list[tuple[str, bytes]]:
        """By proxies' names, what they are to be told now."""
        taken = []
        while self._wanted and self._wanted[0][0] <= now:
            _, proxy, wanted = self._wanted.popleft()
            taken.append((proxy, wanted))
        return taken

    def next_timeout(self) -> float:
        """When a proxy is to be told next."""
        return self._wanted[0][0] if self._wanted else inf

    def is_cold(self, peer: int, key: str, now: float) -> bool:
        """Whether it was not there when it was asked for, a moment ago, and the proxy has not told of it since."""
        return self.native.is_cold(peer, octets(key), now)

    def look_up(self, peer: int, key: str, now: float, fields: bytes = ANY) -> Is:
        return Is(self.native.look_up(peer, octets(key), now, fields))
