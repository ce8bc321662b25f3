"""What gateways have yet to say that they heard of answers that are sent (``braid.transfer_progress``). Pure: times in,
messages out.

Of each connection the last promise alone counts, so it is the only one that is said again. What a gateway has not
heard after ``FOR`` seconds waits until it, or another one, says that it decides about the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.repeated import Repeated, Say
from braid.transfer import SLOWEST_RESEND
from braid.transfer_progress import Heard, encode_promised, heard_of

if TYPE_CHECKING:
    from braid.transfer_progress import Promised

FOR = 2.0


class Unheard:
    def __init__(self) -> None:
        self._said = Repeated(SLOWEST_RESEND, FOR)
        self._heard: dict[bytes, Heard] = {}
        """By connection: what the gateway says when it has."""

    def __len__(self) -> int:
        return len(self._said)

    def promise(self, peer: int, promised: Promised, now: float) -> list[Say]:
        say = Say(peer, encode_promised(promised))
        self._heard[promised.id] = heard_of(promised)
        self._said.begin(promised.id, say, now)
        return [say]

    def receive(self, peer: int, heard: Heard) -> None:
        if self._said.peer(heard.id) == peer and self._heard[heard.id] == heard:
            self.forget(heard.id)

    def follow(self, id_: bytes, peer: int, now: float) -> None:
        """Another gateway is to hear of that connection now; or the same one, which may not have heard before."""
        self._said.follow(id_, peer, now)

    def forget(self, id_: bytes) -> None:
        """Its connection is over."""
        self._said.end(id_)
        self._heard.pop(id_, None)

    def handle_timeout(self, now: float) -> list[Say]:
        return self._said.handle_timeout(now)[0]

    def next_timeout(self) -> float:
        return self._said.next_timeout()
