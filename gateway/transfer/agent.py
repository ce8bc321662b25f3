"""The device's side of the transfer protocol (``braid.transfer``). Pure: messages and times in, commands out.

::

    (nothing) --begin--> ASKING --accept--> COMMITTED --terminate--> MOVED --return--> BACK
                           |                    |                      |
                           | refuse, mismatch,  | abort, silent        | (forgotten when the caller says ``end``)
                           v silent             v                      v
                         ENDED <------------- ENDED                  ENDED

While it asks, the client's packets are held and the origin's connection is untouched: ``Release`` gives them to it, and
nobody has noticed. From ``Steer`` on they go to the proxy. An ended transfer is remembered for a while, so that what
comes late is answered by an ABORT and the proxy closes what it built in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from braid.transfer import (
    How,
    Reason,
    Return,
    Returned,
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
    from braid.transfer import Numbers

ASK_FOR = 0.1
"""Seconds that a proxy is asked for. The client waits meanwhile."""
RESEND = 0.01
COMMIT_FOR = 2.0
"""Seconds in which a proxy that accepted has to take over."""
SLOWEST_RESEND = 0.16
REMEMBER = 10.0
MOST = 10_000
"""Transfers that are known at one time; beyond, the origin serves."""


class State(Enum):
    ASKING = "asking"
    COMMITTED = "committed"
    MOVED = "moved"
    BACK = "back"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Send:
    peer: int
    message: TransferMessage


@dataclass(frozen=True, slots=True)
class Release:
    """What was held goes to the origin."""

    id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Steer:
    """The proxy owns the connection: in one write, before anything else."""

    id: bytes
    peer: int


@dataclass(frozen=True, slots=True)
class EndServer:
    """End the first connection at the server; its packets are suppressed."""

    id: bytes
    how: How
    sequence: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """The connection is here again: build it from the record. ``Agent.taken_back`` says how that went."""

    id: bytes
    numbers: Numbers
    record: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The proxy accepted, and is silent since the connection was steered to it."""

    id: bytes
    reason: str


Command = Send | Release | Steer | EndServer | TakeBack | Lost


@dataclass(slots=True)
class _Transfer:
    peer: int
    request: TransferRequest
    state: State
    began: float
    due: float
    pause: float = RESEND
    terminated: Terminated | None = None
    returned: Returned | None = None


class TransferAgent:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        """``requested``, ``accepted``, ``returned``, ``lost``, ``stray``, and refused ones by ``refused/reason``."""
        self._transfers: dict[bytes, _Transfer] = {}

    def __len__(self) -> int:
        return len(self._transfers)

    def state(self, id_: bytes) -> State | None:
        found = self._transfers.get(id_)
        return found.state if found else None

    def begin(self, peer: int, request: TransferRequest, now: float) -> list[Command]:
        """The caller holds the client's packets from before on. An id is used once."""
        if len(self._transfers) >= MOST:
            self._count("refused/table_full")
            return [Release(request.id, "table_full")]
        self._count("requested")
        self._transfers[request.id] = _Transfer(peer, request, State.ASKING, now, now + RESEND)
        return [Send(peer, request)]

    def receive(self, peer: int, message: TransferMessage, now: float) -> list[Command]:
        """A message that only the asked proxy could send is nothing from another one."""
        transfer = self._transfers.get(message.id)
        if transfer is None or transfer.peer != peer:
            self._count("stray")
            if isinstance(message, TransferAccept | Terminate):
                return [Send(peer, TransferAbort(message.id, Reason.UNKNOWN))]
            return [Send(peer, Returned(message.id, False))] if isinstance(message, Return) else []
        match message:
            case TransferAccept():
                return self._accepted(transfer, message, now)
            case TransferRefuse() | TransferAbort():
                return self._refused(transfer, message.reason.name.lower(), now)
            case Terminate():
                return self._terminate(transfer, message, now)
            case Return():
                return self._return(transfer, message, now)
            case _:
                self._count("stray")
                return []

    def taken_back(self, id_: bytes, done: bool, now: float) -> list[Command]:
        """Whether the connection could be built again. If not the proxy keeps it."""
        transfer = self._transfers[id_]
        transfer.returned = Returned(id_, done)
        if done:
            transfer.state, transfer.due = State.BACK, now + REMEMBER
            self._count("returned")
        return [Send(transfer.peer, transfer.returned)]

    def end(self, id_: bytes, now: float) -> None:
        """The client's connection is over."""
        transfer = self._transfers.get(id_)
        if transfer is not None and transfer.state is State.MOVED:
            self._end(transfer, now)

    def handle_timeout(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for id_, transfer in list(self._transfers.items()):
            if transfer.due > now:
                continue
            match transfer.state:
                case State.ASKING if now - transfer.began >= ASK_FOR:
                    self._end(transfer, now)
                    self._count("refused/silent")
                    commands.append(Release(id_, "silent"))
                    commands.append(Send(transfer.peer, TransferAbort(id_, Reason.STALE)))
                case State.ASKING:
                    transfer.due = min(now + RESEND, transfer.began + ASK_FOR)
                    commands.append(Send(transfer.peer, transfer.request))
                case State.COMMITTED if now - transfer.began >= COMMIT_FOR:
                    commands += self._lose(transfer, "silent", now)
                case State.COMMITTED:
                    # The client waits: only a proxy that is likely dead is asked less often.
                    if now - transfer.began >= ASK_FOR:
                        transfer.pause = min(transfer.pause * 1.5, SLOWEST_RESEND)
                    transfer.due = now + transfer.pause
                    commands.append(Send(transfer.peer, TransferCommit(id_)))
                case State.BACK | State.ENDED:
                    del self._transfers[id_]
                case State.MOVED:
                    transfer.due = float("inf")
        return commands

    def next_timeout(self) -> float:
        return min((transfer.due for transfer in self._transfers.values()), default=float("inf"))

    def _accepted(self, transfer: _Transfer, message: TransferAccept, now: float) -> list[Command]:
        id_ = message.id
        match transfer.state:
            case State.ASKING if message.numbers != transfer.request.numbers:
                self._end(transfer, now)
                self._count("refused/mismatch")
                return [Release(id_, "mismatch"), Send(transfer.peer, TransferAbort(id_, Reason.MISMATCH))]
            case State.ASKING:
                self._count("accepted")
                transfer.state, transfer.began, transfer.due = State.COMMITTED, now, now + RESEND
                return [Steer(id_, transfer.peer), Send(transfer.peer, TransferCommit(id_))]
            case State.COMMITTED:
                return []
            case State.ENDED:
                self._count("late")
                return [Send(transfer.peer, TransferAbort(id_, Reason.STALE))]
            case State.MOVED | State.BACK:
                return []

    def _refused(self, transfer: _Transfer, reason: str, now: float) -> list[Command]:
        match transfer.state:
            case State.ASKING:
                self._end(transfer, now)
                self._count(f"refused/{reason}")
                return [Release(transfer.request.id, reason)]
            case State.COMMITTED:
                return self._lose(transfer, reason, now)
            case State.MOVED | State.BACK | State.ENDED:
                return []

    def _terminate(self, transfer: _Transfer, message: Terminate, now: float) -> list[Command]:
        commands: list[Command] = []
        if transfer.state is State.COMMITTED:
            transfer.state, transfer.due = State.MOVED, float("inf")
            transfer.terminated = Terminated(message.id, True)
            commands.append(EndServer(message.id, message.how, message.sequence))
        if transfer.terminated is not None:
            return [*commands, Send(transfer.peer, transfer.terminated)]
        return [Send(transfer.peer, TransferAbort(message.id, Reason.STALE))]

    def _return(self, transfer: _Transfer, message: Return, now: float) -> list[Command]:
        if transfer.returned is not None and transfer.returned.done:
            return [Send(transfer.peer, transfer.returned)]
        if transfer.state is not State.MOVED:
            # A TERMINATE that was overtaken: it comes again, and so does this.
            return [] if transfer.state is State.COMMITTED else [Send(transfer.peer, Returned(message.id, False))]
        return [TakeBack(message.id, message.numbers, message.record)]

    def _lose(self, transfer: _Transfer, reason: str, now: float) -> list[Command]:
        self._end(transfer, now)
        self._count("lost")
        return [Lost(transfer.request.id, reason)]

    def _end(self, transfer: _Transfer, now: float) -> None:
        transfer.state, transfer.due = State.ENDED, now + REMEMBER

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
