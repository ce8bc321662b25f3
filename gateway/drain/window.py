"""Pieces of flows on their way to the sibling: numbered, a few at a time, sent again until they are answered. Pure.

A piece is given to the core once, however often it comes: the receiver answers what it has had from memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from braid.moves import Flows, Have

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AT_ONCE = 32
"""From the oldest piece under way to the youngest: less than an event queue or a socket buffer takes."""
RESEND = 0.05
"""Seconds until a piece is sent again."""


class Sending:
    """One side of a drain. A piece has a number that no other one of the drain has."""

    def __init__(self, ident: bytes) -> None:
        self.id = ident
        self.new = self.refused = 0
        """Flows, as answered."""
        self.again = 0
        """Pieces that were sent once more."""
        self._next = 0
        self._waiting: deque[Flows] = deque()
        self._under_way: dict[int, tuple[Flows, float]] = {}
        """By number: the piece, and when it is due again."""

    @property
    def open(self) -> int:
        """Pieces without an answer."""
        return len(self._waiting) + len(self._under_way)

    @property
    def idle(self) -> bool:
        return self.open == 0

    def put(self, shard: int, pieces: Iterable[bytes]) -> int:
        """The number of the piece that would be next."""
        for piece in pieces:
            self._waiting.append(Flows(self.id, self._next, shard, piece))
            self._next += 1
        return self._next

    def withdraw(self, number: int) -> None:
        """What is in a piece without an answer is not to be told any more. Its number stays: the receiver has all."""
        if number in self._under_way:
            piece, at = self._under_way[number]
            self._under_way[number] = (replace(piece, piece=b""), at)
        self._waiting = deque(replace(piece, piece=b"") if piece.number == number else piece for piece in self._waiting)

    def due(self, now: float) -> list[Flows]:
        """What is to be sent now."""
        while self._waiting and self._waiting[0].number < min(self._under_way, default=self._next) + AT_ONCE:
            piece = self._waiting.popleft()
            self._under_way[piece.number] = (piece, now)
            self.again -= 1
        found = [piece for piece, at in self._under_way.values() if at <= now]
        self.again += len(found)
        for piece in found:
            self._under_way[piece.number] = (piece, now + RESEND)
        return found

    def next_timeout(self) -> float | None:
        return min((at for _, at in self._under_way.values()), default=None)

    def receive(self, answer: Have) -> bool:
        """Whether it was waited for."""
        known = answer.id == self.id and self._under_way.pop(answer.number, None) is not None
        if known:
            self.new += answer.new
            self.refused += answer.refused
        return known


class Receiving:
    """The other side. ``take`` gives a piece to the core: flows that are new, known, refused."""

    def __init__(self, ident: bytes, take: Callable[[int, bytes], tuple[int, int, int]]) -> None:
        self.id = ident
        self.new = self.refused = 0
        self._take = take
        self._had: dict[int, Have] = {}
        self._below = 0
        """All numbers below this one are answered, and the sender knows."""

    def receive(self, piece: Flows) -> Have | None:
        """The answer. None: it is of another drain, or so old that its sender has had the answer."""
        if piece.id != self.id or piece.number < self._below:
            return None
        if piece.number not in self._had:
            new, again, refused = self._take(piece.shard, piece.piece)
            self.new += new
            self.refused += refused
            self._had[piece.number] = Have(self.id, piece.number, new, again, refused)
        answer = self._had[piece.number]
        # Whoever sends this one has heard of all that are so far before it.
        while self._below <= piece.number - AT_ONCE:
            del self._had[self._below]
            self._below += 1
        return answer
