"""Which answers are stored, and which of them go when room is needed: those that were not used for longest. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from content.entry import Entry

MOST_ENTRIES = 100_000
"""Their heads are in memory, some 3 KB each."""
MOST_VARIANTS = 16
"""Of one key."""
ROOM = 16
"""At least one part in so many of what is stored goes at once, so that the next ones find room, too."""


class Index:
    """``limit`` is what the entries may cost together, in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        """By id, the one that was not used for longest first."""
        self._by_key: dict[str, list[str]] = {}
        """Ids, the newest answer first."""
        self.changed: Callable[[str], None] = lambda _key: None
        """Hears of each key of which something else is stored now."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """The one used last comes first."""
        return iter(list(reversed(self._entries.values())))

    def __contains__(self, id_: str) -> bool:
        return id_ in self._entries

    def keys(self) -> Iterator[str]:
        return iter(self._by_key)

    def find(self, key: str) -> list[Entry]:
        """All variants, the newest first."""
        return [self._entries[id_] for id_ in self._by_key.get(key, ())]

    def add(self, entry: Entry) -> list[Entry]:
        """Take in a new answer or a new head of one; returns what has to go for it: an older one of the same variant,
        and those that there is no more room for."""
        self.remove(entry.id)
        known = self.find(entry.key)
        gone = [other for other in known if other.selecting == entry.selecting]
        kept = [other for other in known if other not in gone]
        gone += sorted(kept, key=lambda other: other.times.received, reverse=True)[MOST_VARIANTS - 1 :]
        for other in gone:
            self.remove(other.id)
        self._entries[entry.id] = entry
        ids = self._by_key.setdefault(entry.key, [])
        ids.append(entry.id)
        ids.sort(key=lambda id_: self._entries[id_].times.received, reverse=True)
        self.bytes += entry.cost
        while self._entries and (self.bytes > self.limit or len(self._entries) > MOST_ENTRIES):
            oldest = next(iter(self._entries.values()))
            self.remove(oldest.id)
            gone.append(oldest)
        self.changed(entry.key)
        return gone

    def touch(self, entry: Entry) -> None:
        """It was used."""
        if entry.id in self._entries:
            self._entries.move_to_end(entry.id)

    def remove(self, id_: str) -> bool:
        entry = self._entries.pop(id_, None)
        if entry is None:
            return False
        self.bytes -= entry.cost
        ids = self._by_key[entry.key]
        ids.remove(id_)
        if not ids:
            del self._by_key[entry.key]
        self.changed(entry.key)
        return True

    def shrink(self, wanted: int) -> list[Entry]:
        """There is less room than ``limit``, and something needs so many bytes: what has to go."""
        rest = self.bytes - max(self.bytes // ROOM, wanted)
        gone: list[Entry] = []
        for oldest in list(self._entries.values()):
            if self.bytes <= rest:
                break
            self.remove(oldest.id)
            gone.append(oldest)
        return gone

    def under(self, prefix: str) -> list[Entry]:
        """Those whose key begins with ``prefix``."""
        return [entry for entry in self if entry.key.startswith(prefix)]
