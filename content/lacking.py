"""What was asked for and is not stored is fetched, if it may be, for those that ask next, when nobody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from content.later import Later

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.role import Situation
    from braid.stored import Wanted
    from braid.transfer import TransferRequest
    from content.judging import Judge


class Lacking:
    def __init__(self, judge: Judge, situation: Callable[[], Situation], count: Callable[[str], None]) -> None:
        self._judge = judge
        self._situation = situation
        self._count = count
        self._later = Later()
        self.run = self._later.run

    def receive(self, peer: int, message: Wanted) -> None:
        """A gateway's client asks for what the gateway knows not to be here."""
        if self._judge.may_want(self._situation(), peer, message):
            self._count("wanted")
            self._add(lambda: self._judge.wanted(self._situation(), message))
        else:
            self._count("stray")

    def miss(self, peer: int, request: TransferRequest) -> None:
        """It is refused for its content, now."""
        self._add(lambda: self.missed(peer, request))

    def missed(self, peer: int, request: TransferRequest) -> None:
        """It was, a moment ago."""
        self._judge.missed(self._situation(), peer, request)

    def _add(self, do: Callable[[], None]) -> None:
        if not self._later.add(do):
            self._count("wanted_full")
