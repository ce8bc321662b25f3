"""Requests for the same thing at the same time go to the origin once (request collapsing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from content.directives import Directives
from content.message import field

if TYPE_CHECKING:
    from content.entry import Entry
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
        self.head: Head | None = None
        self.selecting: Headers = ()
        self.growing: Growing | None = None
        self.entry: Entry | None = None
        """Stored, or confirmed."""
        self.error: OriginError | None = None


class Flights:
    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._unshared: dict[str, float] = {}
        """Key -> until when."""

    def __len__(self) -> int:
        return len(self._flights)

    def of(self, key: str) -> Flight | None:
        return self._flights.get(key)

    def is_alone(self, key: str, now: float) -> bool:
        """Whether the last answer was for one client alone."""
        return self._unshared.get(key, 0.0) > now

    def begin(self, request: Request, now: float) -> Flight | None:
        """None for a request whose answer others could not have."""
        if not collapsible(request) or self.is_alone(request.key, now):
            return None
        flight = self._flights[request.key] = Flight()
        return flight

    def end(self, key: str, flight: Flight | None) -> None:
        if flight is not None:
            flight.decided.set()
            if self._flights.get(key) is flight:
                del self._flights[key]

    def unshare(self, key: str, now: float) -> None:
        if len(self._unshared) >= MOST_UNSHARED:
            self._unshared.clear()
        self._unshared[key] = now + UNSHARED


def collapsible(request: Request) -> bool:
    """Whether it may wait for the answer to another one, and others for its."""
    return field(request.headers, b"authorization") is None and "no-store" not in Directives(request.headers)
