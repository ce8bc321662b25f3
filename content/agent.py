"""The content proxy's side of the transfer protocol (``braid.transfer``). Pure: messages and times in, commands out.

::

    (nothing) --request--> CONSIDERED --accept--> ACCEPTED --commit--> SERVING --give back--> RETURNING
                               |                     |                   ^                     |     |
                               | refuse, deadline    | abort, lease      +-- the gateway does -+     | returned
                               v                     v                       not take it             v
                             ENDED                 ENDED                                           ENDED

A socket that was built for a request cannot emit until ``Start``; ``Discard`` closes it in silence. What was said to a
request is said again when it comes again, also when the transfer has ended, for as long as it is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from braid.deadlines import Deadlines
from braid.transfer import (
    MOST,
    REMEMBER,
    RESEND,
    SLOWEST_RESEND,
    How,
    Reason,
    Return,
    Returned,
    Send,
    Terminate,
    Terminated,
    TransferAbort,
    TransferAccept,
    TransferCommit,
    TransferMessage,
    TransferRefuse,
    TransferRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.transfer import Numbers

LEASE = 1.0
"""Seconds that a built socket waits for its COMMIT."""
END_AGAIN, END_SLOWEST = 0.04, 2.0
"""Seconds between two times that a gateway is told of an end: nobody waits for it."""
RETURN_FOR = 2.0
"""Seconds in which the gateway has to take a connection back."""
FOREVER = float("inf")


class State(Enum):
    CONSIDERED = "considered"
    ACCEPTED = "accepted"
    SERVING = "serving"
    RETURNING = "returning"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Consider:
    """Can it be served? The caller answers by ``accept``, with the socket built, or ``refuse``."""

    peer: int
    request: TransferRequest


@dataclass(frozen=True, slots=True)
class Start:
    """The client's packets come here now: let the socket go, and serve."""

    id: bytes


@dataclass(frozen=True, slots=True)
class Discard:
    """Close the socket; nobody hears of it."""

    id: bytes


@dataclass(frozen=True, slots=True)
class KeepOn:
    """The gateway does not take the connection back: go on with it here, or reset the client."""

    id: bytes
    heard: bool
    """It says so. Otherwise it is silent, and may have taken it: what must not be done twice is not done here."""


@dataclass(frozen=True, slots=True)
class Follows:
    """Another gateway decides about the connection now."""

    id: bytes
    peer: int


Command = Send | Consider | Start | Discard | KeepOn | Follows


@dataclass(slots=True)
class _Transfer:
    peer: int
    request: TransferRequest
    state: State
    due: float
    """When something has to be sent again, or is over."""
    forget: float = FOREVER
    """Ended: when."""
    ending: bool = False
    """The gateway has not said that it heard of the end of what was served here."""
    answer: TransferMessage | None = None
    """What was said to the request."""
    terminate: Terminate | None = None
    """Said until it is acknowledged."""
    returning: Return | None = None
    returning_since: float = 0.0
    pause: float = RESEND


class ProxyAgent:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """``requests``, ``accepted``, ``served``, ``returned``, ``expired``, ``aborted``, ``stray``."""
        self._transfers: dict[bytes, _Transfer] = {}
        self._deadlines = Deadlines()

    def __len__(self) -> int:
        return len(self._transfers)

    def state(self, id_: bytes) -> State | None:
        found = self._transfers.get(id_)
        return found.state if found else None

    def receive(self, peer: int, message: TransferMessage, now: float) -> list[Command]:
        transfer = self._transfers.get(message.id)
        if transfer is not None and transfer.peer != peer:
            self.count("stray")
            return []
        commands = self._of_peer(peer, message, transfer, now)
        self._note(message.id)
        return commands

    def _of_peer(self, peer: int, message: TransferMessage, transfer: _Transfer | None, now: float) -> list[Command]:
        match message:
            case TransferRequest():
                return self._request(peer, message, transfer, now)
            case TransferCommit():
                return self._commit(peer, message, transfer, now)
            case TransferAbort() if transfer is not None:
                return self._abort(transfer, message.reason, now)
            case Terminated() if transfer is not None:
                return self._terminated(transfer, now)
            case Returned() if transfer is not None:
                return self._returned(transfer, message, now)
            case _:
                self.count("stray")
                return []

    def accept(self, id_: bytes, numbers: Numbers, now: float) -> list[Command]:
        """The socket is built, frozen, with these numbers. It goes at once if the request is over by now."""
        transfer = self._transfers.get(id_)
        if transfer is None or transfer.state is not State.CONSIDERED:
            return [Discard(id_)]
        self.count("accepted")
        transfer.state, transfer.due = State.ACCEPTED, now + LEASE
        transfer.answer = TransferAccept(id_, round(LEASE * 1000), numbers)
        self._note(id_)
        return [Send(transfer.peer, transfer.answer)]

    def refuse(self, id_: bytes, reason: Reason, now: float) -> list[Command]:
        transfer = self._transfers.get(id_)
        if transfer is None or transfer.state is not State.CONSIDERED:
            return []
        self.count(f"refused/{reason.name.lower()}")
        transfer.answer = TransferRefuse(id_, reason)
        self._end(transfer, now)
        self._note(id_)
        return [Send(transfer.peer, transfer.answer)]

    def refused(self, peer: int, request: TransferRequest, reason: Reason, now: float) -> bool:
        """It was refused before this agent heard of it. False: it has heard of it."""
        if request.id in self._transfers:
            return False
        self.count("requests")
        self.count(f"refused/{reason.name.lower()}")
        if len(self._transfers) < MOST:
            answer = TransferRefuse(request.id, reason)
            self._transfers[request.id] = _Transfer(peer, request, State.ENDED, now + REMEMBER, answer=answer)
            self._note(request.id)
        return True

    def asked(self, id_: bytes) -> tuple[int, TransferRequest]:
        """Who asked for a transfer, and what."""
        transfer = self._transfers[id_]
        return transfer.peer, transfer.request

    def adopt(self, peer: int, request: TransferRequest, now: float) -> list[Command]:
        """It is served already, by a socket that an earlier agent had; whether the server's side was ended is not
        known."""
        transfer = _Transfer(peer, request, State.SERVING, now + RESEND)
        transfer.terminate = Terminate(request.id, How.FIN, request.numbers.receive_next)
        self._transfers[request.id] = transfer
        self._note(request.id)
        return [Send(peer, transfer.terminate)]

    def follow(self, peer: int, id_: bytes, may: Callable[[int, int], bool], now: float) -> list[Command]:
        """A gateway says that it decides about a connection now. ``may``: whether that one may, by the one that did."""
        transfer = self._transfers.get(id_)
        if transfer is not None and transfer.peer != peer and not may(transfer.peer, peer):
            self.count("stray")
            return []
        if transfer is None or transfer.state not in (State.SERVING, State.RETURNING):
            return [Send(peer, TransferAbort(id_, Reason.ENDED))]
        commands: list[Command] = [Follows(id_, peer)]
        transfer.peer, transfer.pause, transfer.due = peer, RESEND, now + RESEND
        transfer.terminate = Terminate(id_, How.FIN, transfer.request.numbers.receive_next)
        self._note(id_)
        said = (transfer.terminate, transfer.returning)
        return [*commands, *(Send(peer, message) for message in said if message is not None)]

    def give_back(self, id_: bytes, numbers: Numbers, record: bytes, now: float) -> list[Command]:
        """The socket is frozen, and its next request is for the origin."""
        transfer = self._transfers[id_]
        transfer.state, transfer.returning_since = State.RETURNING, now
        transfer.returning = Return(id_, numbers, record)
        transfer.pause = RESEND
        transfer.due = now + RESEND
        self._note(id_)
        return [Send(transfer.peer, transfer.returning)]

    def end(self, id_: bytes, now: float) -> list[Command]:
        """The client's connection is over. The gateway is told until it has heard, or forgets it here: should this node
        be gone it would look for the client, in vain."""
        transfer = self._transfers.get(id_)
        if transfer is None or transfer.state is not State.SERVING:
            return []
        self._end(transfer, now)
        transfer.ending, transfer.pause, transfer.due = True, END_AGAIN, now + END_AGAIN
        self._note(id_)
        return [Send(transfer.peer, TransferAbort(id_, Reason.ENDED))]

    def handle_timeout(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for id_ in self._deadlines.passed(now):
            commands += self._overdue(id_, self._transfers[id_], now)
            self._note(id_)
        return commands

    def _overdue(self, id_: bytes, transfer: _Transfer, now: float) -> list[Command]:
        commands: list[Command] = []
        match transfer.state:
            case State.CONSIDERED:
                # Whoever asked has given up; what is still being built for it is discarded when it is there.
                self._end(transfer, now)
                transfer.answer = TransferRefuse(id_, Reason.STALE)
            case State.ACCEPTED:
                self.count("expired")
                self._end(transfer, now)
                transfer.answer = TransferRefuse(id_, Reason.STALE)
                commands.append(Discard(id_))
            case State.SERVING if transfer.terminate is not None:
                # A gateway that waits for it says COMMIT again; others may have thousands to hear of.
                self._wait(transfer, now, END_SLOWEST)
                commands.append(Send(transfer.peer, transfer.terminate))
            case State.SERVING:
                transfer.due = FOREVER
            case State.RETURNING if now - transfer.returning_since >= RETURN_FOR:
                commands += self._keep(transfer, heard=False)
            case State.RETURNING:
                self._wait(transfer, now)
                if transfer.terminate is not None:
                    commands.append(Send(transfer.peer, transfer.terminate))
                if transfer.returning is not None:
                    commands.append(Send(transfer.peer, transfer.returning))
            case State.ENDED if transfer.ending and now < transfer.forget:
                transfer.pause = min(transfer.pause * 1.5, END_SLOWEST)
                transfer.due = min(now + transfer.pause, transfer.forget)
                commands.append(Send(transfer.peer, TransferAbort(id_, Reason.ENDED)))
            case State.ENDED:
                del self._transfers[id_]
        return commands

    def next_timeout(self) -> float:
        return self._deadlines.next()

    def _note(self, id_: bytes) -> None:
        """Its deadline may be another one now."""
        transfer = self._transfers.get(id_)
        self._deadlines.set(id_, None if transfer is None else transfer.due)

    def _request(self, peer: int, request: TransferRequest, transfer: _Transfer | None, now: float) -> list[Command]:
        if transfer is not None:
            return [] if transfer.answer is None else [Send(peer, transfer.answer)]
        self.count("requests")
        if len(self._transfers) >= MOST:
            self.count("refused/busy")
            return [Send(peer, TransferRefuse(request.id, Reason.BUSY))]
        due = now + request.deadline / 1000
        self._transfers[request.id] = _Transfer(peer, request, State.CONSIDERED, due)
        return [Consider(peer, request)]

    def _commit(self, peer: int, commit: TransferCommit, transfer: _Transfer | None, now: float) -> list[Command]:
        if transfer is None or transfer.state in (State.CONSIDERED, State.ENDED):
            if transfer is not None and transfer.terminate is not None:
                # Served, and over already, before the gateway knows that it began.
                return [Send(peer, transfer.terminate)]
            return [Send(peer, TransferAbort(commit.id, Reason.STALE))]
        if transfer.state is not State.ACCEPTED:
            return [] if transfer.terminate is None else [Send(peer, transfer.terminate)]
        self.count("served")
        transfer.state, transfer.pause = State.SERVING, RESEND
        transfer.due = now + RESEND
        transfer.terminate = Terminate(commit.id, How.FIN, transfer.request.numbers.receive_next)
        return [Start(commit.id), Send(peer, transfer.terminate)]

    def _abort(self, transfer: _Transfer, reason: Reason, now: float) -> list[Command]:
        match transfer.state:
            case State.CONSIDERED | State.ACCEPTED:
                self.count("aborted")
                built = transfer.state is State.ACCEPTED
                self._end(transfer, now)
                transfer.answer = TransferRefuse(transfer.request.id, Reason.STALE)
                return [Discard(transfer.request.id)] if built else []
            case State.SERVING | State.RETURNING if reason is Reason.ENDED:
                # The edge does not reach us, and the gateway has gone on with it.
                self.count("followed")
                self._end(transfer, now)
                return [Discard(transfer.request.id)]
            case State.SERVING | State.RETURNING:
                # The gateway has forgotten it. The client's packets come here as long as they are steered here.
                transfer.terminate = None
                return []
            case State.ENDED:
                transfer.ending, transfer.due = False, transfer.forget
                return []

    def _terminated(self, transfer: _Transfer, now: float) -> list[Command]:
        transfer.terminate = None
        if transfer.state is State.SERVING:
            transfer.due = FOREVER
        return []

    def _returned(self, transfer: _Transfer, returned: Returned, now: float) -> list[Command]:
        if transfer.state is not State.RETURNING:
            return []
        if not returned.done:
            return self._keep(transfer, heard=True)
        self.count("returned")
        self._end(transfer, now)
        return [Discard(transfer.request.id)]

    def _keep(self, transfer: _Transfer, *, heard: bool) -> list[Command]:
        transfer.state, transfer.returning = State.SERVING, None
        transfer.due = FOREVER
        return [KeepOn(transfer.request.id, heard)]

    def _wait(self, transfer: _Transfer, now: float, slowest: float = SLOWEST_RESEND) -> None:
        transfer.pause = min(transfer.pause * 1.5, slowest)
        transfer.due = now + transfer.pause

    def _end(self, transfer: _Transfer, now: float) -> None:
        transfer.state, transfer.forget = State.ENDED, now + REMEMBER
        transfer.due = transfer.forget

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
