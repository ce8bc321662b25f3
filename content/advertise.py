"""What gateways are told of the store: the pages that changed, and the others in turn. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.stored import PAGES, StoredPages, make_page, pack, place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from braid.stored import Mark, Page

EVERY = 0.5
"""Seconds between two times that gateways are told."""
MOST_CHANGED = 8192
"""Bytes of pages told at one time because they changed."""
IN_TURN = 2
"""Pages told at one time whether they changed or not: all of them within half a minute."""


class Advertised:
    """``order``: later than those that an earlier process used."""

    def __init__(self, order: int = 0) -> None:
        self._order = order
        self._marks: list[dict[str, Mark]] = [{} for _ in range(PAGES)]
        self._changed: dict[int, None] = dict.fromkeys(range(PAGES))
        """The one that has waited for longest first."""
        self._made: dict[int, Page] = {}
        self._turn = 0

    def add(self, keys: Iterable[str]) -> None:
        for key in keys:
            page, mark = place(key)
            self._marks[page][key] = mark
            self._change(page)

    def remove(self, key: str) -> None:
        page, _ = place(key)
        self._marks[page].pop(key, None)
        self._change(page)

    def tell_all(self) -> None:
        """Somebody new listens."""
        self._changed |= dict.fromkeys(range(PAGES))

    def next(self) -> list[StoredPages]:
        """What is to be told now."""
        pages: dict[int, Page] = {}
        told = 0
        while self._changed and told < MOST_CHANGED:
            number = next(iter(self._changed))
            pages[number] = self._page(number)
            told += len(pages[number].bits)
        for _ in range(IN_TURN):
            pages[self._turn] = self._page(self._turn)
            self._turn = (self._turn + 1) % PAGES
        messages = pack(pages.values(), self._order)
        self._order = (self._order + len(messages)) % (1 << 32)
        return messages

    def _page(self, number: int) -> Page:
        """As it is now; it is told."""
        self._changed.pop(number, None)
        made = self._made.get(number)
        if made is None:
            marks = self._marks[number]
            made = self._made[number] = make_page(number, marks.values(), len(marks))
        return made

    def _change(self, number: int) -> None:
        self._changed[number] = None
        self._made.pop(number, None)
