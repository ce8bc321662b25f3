"""The transfers of a gateway, by id, and what each step of their agent (``gateway.transfer.agent``) may do. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from braid.deadlines import Deadlines
from braid.transfer import IF_GONE, MODULUS, MOST, REMEMBER, RESEND, Terminated
from gateway.transfer.commands import AskEdge, Command, Hold, Lost
from gateway.transfer.state import ASK_FOR, COMMIT_FOR, FOREVER, OVER, State, Transfer

if TYPE_CHECKING:
    from braid.transfer import TransferRequest


MOST_RESCUED = 256
"""Connections of proxies that are gone about which edges are asked at one time: what they answer has to be heard."""
_RESCUED = (State.RESCUING, State.RECLAIMING)


class Table:
    """``order`` is the last one that edges were told: later than those that an earlier process used."""

    def __init__(self, order: int = 0) -> None:
        self.counts: dict[str, int] = {}
        """``requested``, ``accepted``, ``moved``, ``returned``, ``entrusted``, ``lost``, ``late``, ``stray``, and
        refused ones by ``refused/reason``."""
        self.open: Counter[int] = Counter()
        """By proxy, the connections that it has, or may get."""
        self._transfers: dict[bytes, Transfer] = {}
        self._order = order
        self._deadlines = Deadlines()
        self._rescued = 0
        """Those, and they whose turn it is."""
        self._missed: dict[bytes, None] = {}
        """Those that wait until there are fewer, in order."""

    def __len__(self) -> int:
        return len(self._transfers)

    def state(self, id_: bytes) -> State | None:
        found = self._transfers.get(id_)
        return found.state if found else None

    def is_asking(self, id_: bytes) -> bool:
        """Whether the client waits for the proxy and the edge."""
        return self.state(id_) in (State.ASKING, State.STEERING)

    def request(self, id_: bytes) -> TransferRequest:
        return self._transfers[id_].request

    def is_full(self) -> bool:
        return len(self._transfers) >= MOST

    def next_timeout(self) -> float:
        return self._deadlines.next()

    def _note(self, id_: bytes) -> None:
        """Its deadline may be another one now."""
        transfer = self._transfers.get(id_)
        self._deadlines.set(id_, None if transfer is None else min(transfer.due, transfer.steer_due))

    def _rescue(self, transfer: Transfer, node: int | None, now: float) -> list[Command]:
        self._enter(transfer, State.RESCUING, now, now + COMMIT_FOR + ASK_FOR)
        return [Hold(transfer.request.id, held=True), self._ask_edge(transfer, node, now)]

    def _rescue_in_turn(self, transfer: Transfer, now: float) -> list[Command]:
        """As many others may need it, too."""
        if self._rescued < MOST_RESCUED:
            return self._rescue(transfer, IF_GONE, now)
        self._enter(transfer, State.MISSED, now, FOREVER)
        self._missed[transfer.request.id] = None
        return []

    def _leave(self, transfer: Transfer, now: float) -> list[Command]:
        """To the proxy, which serves it as long as it lives, and asks the origin for what it would give back. Now and
        then it is asked whether it does: it may be reached again. The edge says when it misses it, too."""
        id_ = transfer.request.id
        self._enter(transfer, State.MOVED, now, now + COMMIT_FOR)
        transfer.claimed, transfer.pause, transfer.terminated = False, COMMIT_FOR, Terminated(id_, True)
        return [Hold(id_, held=False)]

    def _lose(self, transfer: Transfer, reason: str, now: float) -> list[Command]:
        self._end(transfer, now)
        self.count("lost")
        return [self._ask_edge(transfer, None, now), Lost(transfer.request.id, reason)]

    def _ask_edge(self, transfer: Transfer, node: int | None, now: float) -> AskEdge:
        self._order = (self._order + 1) % MODULUS
        transfer.steer = steer = AskEdge(transfer.request.id, self._order, node)
        transfer.steer_due, transfer.steer_until = now + RESEND, now + COMMIT_FOR
        transfer.steer_pause = RESEND
        return steer

    def _enter(self, transfer: Transfer, state: State, now: float, due: float) -> None:
        self.open[transfer.peer] += (state not in OVER) - (transfer.state not in OVER)
        waited = transfer.request.id in self._missed
        self._missed.pop(transfer.request.id, None)
        self._rescued += (state in _RESCUED) - (transfer.state in (*_RESCUED, State.MISSED) and not waited)
        if self._missed and self._rescued < MOST_RESCUED:
            id_ = next(iter(self._missed))
            del self._missed[id_]
            self._rescued += 1
            self._transfers[id_].due = now
            self._note(id_)
        transfer.state, transfer.began, transfer.due = state, now, due

    def _end(self, transfer: Transfer, now: float) -> None:
        self._enter(transfer, State.ENDED, now, now + REMEMBER)

    def _stray(self) -> list[Command]:
        self.count("stray")
        return []

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
