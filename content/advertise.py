"""What gateways are told of the store: the pages that changed, and the others in turn. Pure.

Of what is stored only that which would be served is told: it is as large as a row of the routing table wants it, and
good without a question to the origin. It may be refused all the same: that goes by what is asked.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from braid.stored import PAGES, StoredPages, make_page, pack, place
from braid.transfer_table import path_of
from content.policy import good_until
from content.serving import told_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from braid.stored import Mark, Page
    from content.entry import Entry
    from topology.transfer import TransferRow

EVERY = 0.5
"""Seconds between two times that gateways are told."""
MOST_CHANGED = 8192
"""Bytes of pages told at one time because they changed."""
IN_TURN = 2
"""Pages told at one time whether they changed or not: all of them within half a minute."""


MOST_FLOORS = 16
"""Beyond that one for all paths stands for them."""


class Floor(NamedTuple):
    """Answers under a path are served from here if they have so many bytes."""

    path: str
    least: int


class Known(NamedTuple):
    mark: Mark
    path: str
    length: int
    """Of the longest variant."""
    until: float
    """The last moment at which one of them is good."""
    told: bytes
    """What the data thread is to know of it."""


def floors_of(rows: Sequence[TransferRow], proxy: str) -> tuple[Floor, ...]:
    """Of the rows that name it: what none of them would have is in none of these."""
    floors = {Floor(row.path, row.least) for row in rows if proxy in row.proxies}
    if len(floors) > MOST_FLOORS:
        return (Floor("", min(floor.least for floor in floors)),)
    return tuple(sorted(floors))


class Advertised:
    """``order``: later than those that an earlier process used. Times are Unix seconds."""

    def __init__(self, order: int = 0) -> None:
        self._order = order
        self._known: list[dict[str, Known]] = [{} for _ in range(PAGES)]
        self._changed: dict[int, None] = dict.fromkeys(range(PAGES))
        """The one that has waited for longest first."""
        self._turn = 0
        self._floors: tuple[Floor, ...] = ()

    def set(self, key: str, variants: Sequence[Entry]) -> None:
        """What is stored under a key now."""
        page, mark = place(key)
        if variants:
            length = max(entry.length for entry in variants)
            until = max(good_until(entry.head, entry.times) for entry in variants)
            self._known[page][key] = Known(mark, path_of(key), length, until, told_of(key, variants))
        else:
            self._known[page].pop(key, None)
        self._changed[page] = None

    def set_floors(self, floors: tuple[Floor, ...]) -> None:
        if floors != self._floors:
            self._floors = floors
            self.tell_all()

    def until(self, key: str) -> float:
        """The last moment at which what is stored under it would be served; minus infinity where it never is."""
        known = self._known[place(key)[0]].get(key)
        return known.until if known is not None and self._has_row(known) else -inf

    def told(self, key: str) -> bytes:
        """What ``serving.told_of`` says of what is stored under it."""
        return self._known[place(key)[0]][key].told

    def keys(self) -> Iterator[str]:
        return (key for page in self._known for key in page)

    def tell_all(self) -> None:
        """Somebody new listens."""
        self._changed |= dict.fromkeys(range(PAGES))

    def next(self, now: float) -> list[StoredPages]:
        """What is to be told now."""
        pages: dict[int, Page] = {}
        told = 0
        while self._changed and told < MOST_CHANGED:
            number = next(iter(self._changed))
            pages[number] = self._page(number, now)
            told += len(pages[number].bits)
        for _ in range(IN_TURN):
            if self._turn not in pages:
                pages[self._turn] = self._page(self._turn, now)
            self._turn = (self._turn + 1) % PAGES
        messages = pack(pages.values(), self._order)
        self._order = (self._order + len(messages)) % (1 << 32)
        return messages

    def _page(self, number: int, now: float) -> Page:
        """As it is now; it is told."""
        self._changed.pop(number, None)
        marks = [known.mark for known in self._known[number].values() if self._is_served(known, now)]
        return make_page(number, marks, len(marks))

    def _is_served(self, known: Known, now: float) -> bool:
        return now < known.until and self._has_row(known)

    def _has_row(self, known: Known) -> bool:
        return any(known.length >= floor.least and known.path.startswith(floor.path) for floor in self._floors)
