"""What is said to a neighbour until it has answered: sometimes lost, and said again more and more rarely. Pure: times
in, messages out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from braid.deadlines import Deadlines

AGAIN = 0.04
"""Seconds until it is said again for the first time: nobody waits for it."""


class Say(NamedTuple):
    peer: int
    message: bytes


@dataclass(slots=True)
class _Waiting:
    say: Say
    until: float
    pause: float = AGAIN


class Repeated:
    """``slowest``: seconds between two times at most; ``patience``: for how many seconds it is said."""

    def __init__(self, slowest: float, patience: float) -> None:
        self._slowest = slowest
        self._patience = patience
        self._waiting: dict[bytes, _Waiting] = {}
        """By id, the oldest first."""
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, id_: bytes) -> bool:
        return id_ in self._waiting

    def oldest(self) -> bytes:
        return next(iter(self._waiting))

    def peer(self, id_: bytes) -> int | None:
        """Who has yet to answer; None: nobody."""
        waiting = self._waiting.get(id_)
        return None if waiting is None else waiting.say.peer

    def begin(self, id_: bytes, say: Say, now: float) -> None:
        """It is said now, in place of what was said by that id."""
        self._waiting[id_] = _Waiting(say, now + self._patience)
        self._deadlines.set(id_, now + AGAIN)

    def follow(self, id_: bytes, peer: int, now: float) -> None:
        """Somebody is to hear it as from the beginning: another one, or the same again."""
        waiting = self._waiting.get(id_)
        if waiting is not None:
            self._waiting[id_] = _Waiting(Say(peer, waiting.say.message), now + self._patience)
            self._deadlines.set(id_, now)

    def end(self, id_: bytes) -> None:
        self._waiting.pop(id_, None)
        self._deadlines.set(id_, None)

    def handle_timeout(self, now: float) -> tuple[list[Say], list[bytes]]:
        """What is to be said again, and the ids of what is not said any more, until ``follow`` or ``end``."""
        again: list[Say] = []
        given_up: list[bytes] = []
        for id_ in self._deadlines.passed(now):
            waiting = self._waiting[id_]
            if now >= waiting.until:
                self._deadlines.set(id_, None)
                given_up.append(id_)
                continue
            again.append(waiting.say)
            waiting.pause = min(waiting.pause * 1.5, self._slowest)
            self._deadlines.set(id_, now + waiting.pause)
        return again, given_up

    def next_timeout(self) -> float:
        return self._deadlines.next()
