"""Which of a node's links need a look this second. Pure.

Of many links nearly all are as they were, and looking at each costs a node at rest more than anything else Python does.
So of links that are well each is looked at in its turn; bad news is never late.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topology.model import HealthSettings

Entry = dict[str, Any]

AT_ONCE = 10
"""Links that are looked at each second, however well they are."""
LONGEST = 5
"""Seconds after which a link is looked at again at the latest."""


class Calm:
    """Takes a snapshot's entries of neighbours each second. One that needs no look is the very object of the last look:
    so whoever made something of it can tell (``is``), and keep that."""

    def __init__(self) -> None:
        self._looked: dict[int, Entry] = {}
        self._second = 0

    def hold(self, entries: Sequence[Entry], settings: HealthSettings) -> list[Entry]:
        """All of ``entries``, those of calm links as they were at most ``LONGEST`` seconds ago."""
        self._second += 1
        turns = min(LONGEST, ceil(len(entries) / AT_ONCE))
        before, found = self._looked, []
        for place, entry in enumerate(entries, self._second):
            last = before.get(entry["node"])
            if last is None or place % turns == 0 or not _is_calm(last, entry, settings):
                last = entry
            found.append(last)
        self._looked = {entry["node"]: entry for entry in found}
        return found


def _is_calm(last: Mapping[str, Any], now: Mapping[str, Any], settings: HealthSettings) -> bool:
    """It is up, loses nothing, and its round trip is off by less than half of what counts as trouble."""
    if not (last.get("up") and now.get("up")) or last.get("loss") or now.get("loss"):
        return False
    if last.get("address") != now.get("address") or last.get("loss") != now.get("loss"):
        return False
    old, new = last.get("rtt_us"), now.get("rtt_us")
    if old is None or new is None:
        return old is new
    limit: float = max(old * settings.delay_bad, settings.delay_bad_ms * 1000) / 2
    return bool(-limit < new - old < limit)
