"""Requests for the same thing at the same time go to the origin once (request collapsing), and what of their answers is
outdated before it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from content.directives import read_directives
from content.message import field

if TYPE_CHECKING:
    from collections.abc import Callable

    from content.entry import Entry
    from content.freshness import Times
    from content.growing import Growing
    from content.message import Head, Headers, Request
    from content.origin import OriginError

UNSHARED = 10.0
"""Seconds for which requests are not collapsed that had an answer for one client alone."""
MOST_UNSHARED = 10_000


class Flight:
    """One request to the origin, and what has come of it so far."""

    def __init__(self) -> None:
        self.decided = trio.Event()
        """The head of the answer is here, or will not come."""
        self.ended = trio.Event()
        """Nothing more comes of it."""
        self.head: Head | None = None
        self.times: Times | None = None
        self.selecting: Headers = ()
        self.growing: Growing | None = None
        self.entry: Entry | None = None
        """Stored, or confirmed."""
        self.error: OriginError | None = None
        self.outdated = False
        """What comes of it is older than a change of that resource, and not stored."""


class Flights:
    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        """Those that others may join: the last one of each key."""
        self._all: dict[str, set[Flight]] = {}
        self._unshared: dict[str, float] = {}
        """Key -> until when."""

    def __len__(self) -> int:
        return len(self._flights)

    def of(self, key: str) -> Flight | None:
        return self._flights.get(key)

    def is_alone(self, key: str, now: float) -> bool:
        """Whether the last answer was for one client alone."""
        # A clock that was set back would make it hours.
        return 0.0 < self._unshared.get(key, 0.0) - now <= UNSHARED

    def begin(self, request: Request, now: float, *, shared: bool = True) -> Flight:
        """Others may join where it is ``shared``, if they could have the answer."""
        flight = Flight()
        self._all.setdefault(request.key, set()).add(flight)
        if shared and collapsible(request) and not self.is_alone(request.key, now):
            self._flights[request.key] = flight
        return flight

    def end(self, key: str, flight: Flight) -> None:
        flight.decided.set()
        flight.ended.set()
        self._leave(key, flight)
        known = self._all.get(key, set())
        known.discard(flight)
        if not known:
            self._all.pop(key, None)

    def outdate(self, concerns: Callable[[str], bool]) -> None:
        """What is under way for these keys was asked for before they changed: nobody joins it any more."""
        for key in [key for key in self._all if concerns(key)]:
            for flight in self._all[key]:
                flight.outdated = True
                self._leave(key, flight)

    def _leave(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def unshare(self, key: str, now: float) -> None:
        if len(self._unshared) >= MOST_UNSHARED:
            self._unshared.clear()
        self._unshared[key] = now + UNSHARED


def collapsible(request: Request) -> bool:
    """Whether others may have its answer, as far as the request says."""
    return field(request.headers, b"authorization") is None and "no-store" not in read_directives(request.headers)


def joins(request: Request) -> bool:
    """Whether it may have the answer to another one that is under way: who says no-cache wants one of its own."""
    return collapsible(request) and "no-cache" not in read_directives(request.headers)
