"""What gateways have yet to say that they heard of answers that are sent (``braid.transfer_progress``). Pure: times in,
messages out.

Of each connection the last promise alone counts, so it is the only one that is said again. What a gateway has not
heard after ``FOR`` seconds waits until it, or another one, says that it decides about the connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.deadlines import Deadlines
from braid.transfer import SLOWEST_RESEND
from braid.transfer_progress import Heard, encode_promised, heard_of

if TYPE_CHECKING:
    from braid.transfer_progress import Promised

AGAIN = 0.04
"""Seconds until a promise is said again for the first time: nobody waits for it."""
FOR = 2.0


@dataclass(frozen=True, slots=True)
class Say:
    peer: int
    message: bytes


@dataclass(slots=True)
class _Promise:
    say: Say
    heard: Heard
    """What the gateway says when it has."""
    until: float
    pause: float = AGAIN


class Unheard:
    def __init__(self) -> None:
        self._promises: dict[bytes, _Promise] = {}
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._promises)

    def promise(self, peer: int, promised: Promised, now: float) -> list[Say]:
        say = Say(peer, encode_promised(promised))
        self._promises[promised.id] = _Promise(say, heard_of(promised), now + FOR)
        self._deadlines.set(promised.id, now + AGAIN)
        return [say]

    def receive(self, peer: int, heard: Heard) -> None:
        waiting = self._promises.get(heard.id)
        if waiting is not None and waiting.say.peer == peer and waiting.heard == heard:
            self.forget(heard.id)

    def follow(self, id_: bytes, peer: int, now: float) -> None:
        """Another gateway is to hear of that connection now; or the same one, which may not have heard before."""
        waiting = self._promises.get(id_)
        if waiting is not None:
            waiting.say, waiting.until, waiting.pause = Say(peer, waiting.say.message), now + FOR, AGAIN
            self._deadlines.set(id_, now)

    def forget(self, id_: bytes) -> None:
        """Its connection is over."""
        self._promises.pop(id_, None)
        self._deadlines.set(id_, None)

    def handle_timeout(self, now: float) -> list[Say]:
        again: list[Say] = []
        for id_ in self._deadlines.passed(now):
            promise = self._promises[id_]
            if now >= promise.until:
                self._deadlines.set(id_, None)
                continue
            again.append(promise.say)
            promise.pause = min(promise.pause * 1.5, SLOWEST_RESEND)
            self._deadlines.set(id_, now + promise.pause)
        return again

    def next_timeout(self) -> float:
        return self._deadlines.next()
