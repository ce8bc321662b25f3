"""What content proxies store, by what they say and what they refused, as a gateway knows it. Pure."""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import TYPE_CHECKING

from braid.stored import MOST_WANTED, encode, place
from braid.transfer import is_later

if TYPE_CHECKING:
    from braid.stored import Page, StoredPages, Wanted

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
    def __init__(self) -> None:
        self._pages: dict[tuple[int, int], tuple[Page, int, float]] = {}
        """By proxy and number of the page: with the order that it came by, and when."""
        self._cold: dict[tuple[int, str, bytes], tuple[float, bool]] = {}
        """By proxy, key and fields, until when, and whether the pages had it nevertheless; the oldest first."""
        self._wanted: deque[tuple[float, str, bytes]] = deque()
        """When a proxy is to be told, which one, and what."""

    def receive(self, peer: int, message: StoredPages, now: float) -> None:
        for page in message.pages:
            known = self._pages.get((peer, page.number))
            if known is None or not is_later(known[1], message.order) or now - known[2] > GOOD_FOR:
                self._pages[peer, page.number] = page, message.order, now

    def forget(self, peer: int) -> None:
        for known in [known for known in self._pages if known[0] == peer]:
            del self._pages[known]

    def remember_cold(self, peer: int, key: str, now: float, fields: bytes = ANY) -> None:
        """The proxy has not what was asked for; with ``fields`` (``fields_of``) it has, but for other requests."""
        for known, (until, _) in list(self._cold.items()):
            if until > now and len(self._cold) < MOST_COLD:
                break
            del self._cold[known]
        self._cold.pop((peer, key, fields), None)
        self._cold[peer, key, fields] = now + COLD, self._told(peer, key, now) is Is.STORED

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
        until, told = self._cold.get((peer, key, ANY), (0.0, False))
        return until > now and (told or self._told(peer, key, now) is not Is.STORED)

    def look_up(self, peer: int, key: str, now: float, fields: bytes = ANY) -> Is:
        if self.is_cold(peer, key, now):
            return Is.COLD
        if fields != ANY and self._cold.get((peer, key, fields), (0.0, False))[0] > now:
            return Is.COLD
        return self._told(peer, key, now)

    def _told(self, peer: int, key: str, now: float) -> Is:
        """By the pages alone."""
        number, mark = place(key)
        page, _, at = self._pages.get((peer, number), (None, 0, 0.0))
        if page is None or now - at > GOOD_FOR:
            return Is.UNKNOWN
        return Is.STORED if page.has(mark) else Is.ABSENT
