"""How old a stored answer is and how long it is fresh (RFC 9111 4.2). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from braid.from_store import MOST_SECONDS
from content.directives import directives_of
from content.message import field, read_date

if TYPE_CHECKING:
    from content.message import Head

HEURISTIC_SHARE = 0.1
HEURISTIC_MOST = 3600.0
"""Seconds for which an answer that says nothing of its lifetime is fresh at most."""
SET_BACK = 5.0
"""Seconds by which a clock is set in ordinary operation."""
HEURISTIC_STATUSES = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""RFC 9110 15.1."""


@dataclass(frozen=True, slots=True)
class Times:
    """Unix seconds at which an answer was asked for and came."""

    requested: float
    received: float


# What is stored is judged for each request, and does not change.


@lru_cache(4096)
def explicit_lifetime(head: Head) -> float | None:
    """Seconds; None when the answer does not say. An ``Expires`` that is no date is in the past."""
    directives = directives_of(head.headers)
    for name in ("s-maxage", "max-age"):
        if (seconds := directives.seconds(name)) is not None:
            return float(seconds)
    if field(head.headers, b"expires") is None:
        return None
    expires, date = read_date(field(head.headers, b"expires")), read_date(field(head.headers, b"date"))
    return 0.0 if expires is None or date is None else max(0.0, expires - date)


@lru_cache(4096)
def lifetime(head: Head) -> float:
    """Seconds from the origin's answer on. Without a word from the origin a tenth of how long it had not changed, at
    most an hour."""
    explicit = explicit_lifetime(head)
    if explicit is not None:
        return explicit
    changed, date = read_date(field(head.headers, b"last-modified")), read_date(field(head.headers, b"date"))
    if head.status not in HEURISTIC_STATUSES or changed is None or date is None:
        return 0.0
    return min(max(0.0, date - changed) * HEURISTIC_SHARE, HEURISTIC_MOST)


def current_age(head: Head, times: Times, now: float) -> float:
    """Seconds since the origin made or confirmed it, those in other caches and on the way included. A clock that was
    set back a little makes nothing younger than it was when it came. What came later than now by more than that may be
    of any age, and has the highest."""
    here = now - times.received
    return float(MOST_SECONDS) if here < -SET_BACK else _age_when_it_came(head, times) + max(0.0, here)


@lru_cache(4096)
def _age_when_it_came(head: Head, times: Times) -> float:
    written = (field(head.headers, b"age") or b"").strip()
    told = min(int(written), MOST_SECONDS) if written.isdigit() and len(written) <= 10 else 0
    date = read_date(field(head.headers, b"date"))
    apparent = max(0.0, times.received - date) if date is not None else 0.0
    on_the_way = max(0.0, times.received - times.requested)
    return max(apparent, told + on_the_way)
