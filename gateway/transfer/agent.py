"""The device's side of the transfer protocol (``braid.transfer``). Pure: messages and times in, commands out. The
picture of its states is in ``gateway.transfer.state``.

While it asks, and until the edge has said that it sends the client's packets to the proxy, they are held and the
origin's connection is untouched: ``Release`` gives them to it, and nobody has noticed. Only then the proxy is told to
begin. The edge may be asked before the proxy has answered, where the proxy most likely accepts: STEERING is over at
once then. Where the origin is to serve after all, nobody waits for the edge to have heard that: until the proxy has
spoken, which it does not before it is told to, the edge lets our answers pass whatever it was asked.

An ended transfer is remembered for a while, so that what comes late is answered by an ABORT and the proxy closes what
it built in silence. What the edge was told last is repeated until it says that it heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.transfer import (
    IF_GONE,
    REMEMBER,
    RESEND,
    SLOWEST_RESEND,
    How,
    Reason,
    Return,
    Returned,
    Send,
    Steered,
    Terminate,
    Terminated,
    TransferAbort,
    TransferAccept,
    TransferCommit,
    TransferMessage,
    TransferRefuse,
    TransferRequest,
    is_later,
)
from gateway.transfer.commands import (
    Claim,
    Command,
    Confirm,
    EndServer,
    GiveUp,
    GoOn,
    Hold,
    Release,
    Resume,
    TakeBack,
    heard,
)
from gateway.transfer.state import ASK_FOR, COMMIT_FOR, FOREVER, LONGEST, SLOWEST_CLAIM, STEER_FOR, State, Transfer
from gateway.transfer.table import Table

if TYPE_CHECKING:
    from collections.abc import Container


class TransferAgent(Table):
    def begin(self, peer: int, request: TransferRequest, now: float, *, asked: bool = True) -> list[Command]:
        """The client's packets are held, and the proxy is ``asked``, or is to be. An id is used once, and not when this
        ``is_full``."""
        self.count("requested")
        self.open[peer] += 1
        self._transfers[request.id] = Transfer(peer, request, State.ASKING, now, now, now + RESEND)
        self._note(request.id)
        return [] if asked else [Send(peer, request)]

    def steer_early(self, id_: bytes, now: float) -> list[Command]:
        """The proxy that was just asked is expected to accept: the edge is asked meanwhile."""
        transfer = self._transfers[id_]
        asked = self._ask_edge(transfer, transfer.peer, now)
        self._note(id_)
        return [asked]

    def receive(self, peer: int, message: TransferMessage, now: float) -> list[Command]:
        """A message that only the asked proxy could send is nothing from another one."""
        transfer = self._transfers.get(message.id)
        if transfer is None or transfer.peer != peer:
            self.count("stray")
            if isinstance(message, TransferAccept | Terminate):
                return [Send(peer, TransferAbort(message.id, Reason.UNKNOWN))]
            return [Send(peer, Returned(message.id, False))] if isinstance(message, Return) else heard(peer, message)
        commands = self._of_peer(transfer, message, now)
        self._note(message.id)
        return commands

    def _of_peer(self, transfer: Transfer, message: TransferMessage, now: float) -> list[Command]:
        match message:
            case TransferAccept():
                return self._accepted(transfer, message, now)
            case TransferRefuse() | TransferAbort():
                return [*self._refused(transfer, message.reason, now), *heard(transfer.peer, message)]
            case Terminate():
                return self._terminate(transfer, message, now)
            case Return():
                return self._return(transfer, message, now)
            case _:
                return self._stray()

    def receive_steered(self, message: Steered, now: float) -> list[Command]:
        """The caller has seen to it that it comes from the edge that was asked."""
        transfer = self._transfers.get(message.id)
        if transfer is None or is_later(message.order, self._order):
            return self._stray()
        if transfer.steer is None or transfer.steer.order != message.order:
            # Said twice, as it was asked twice; or of what it was told before.
            return []
        transfer.steer, transfer.steer_due = None, FOREVER
        commands = self._steered(transfer, message, now)
        self._note(message.id)
        return commands

    def _steered(self, transfer: Transfer, message: Steered, now: float) -> list[Command]:
        id_ = message.id
        match transfer.state:
            case State.ASKING | State.STEERING if not message.done:
                self.count("refused/edge_refused")
                # What it was told before may still be under way to it.
                again = self._ask_edge(transfer, None, now)
                return [again, *self._release(transfer, "edge_refused", now), transfer.abort(Reason.STALE)]
            case State.ASKING:
                transfer.steered = True
                return []
            case State.STEERING:
                return [Confirm(id_)]
            case State.RESCUING if not message.done and now + ASK_FOR < transfer.began + COMMIT_FOR:
                # It has yet to miss the proxy, or the proxy lives and only we do not reach it.
                self._ask_edge(transfer, IF_GONE, now)
                transfer.steer_due = now + ASK_FOR
                return []
            case State.RESCUING if not message.done and transfer.terminated is None:
                # One that no COMMIT has reached has closed its socket by now, and never speaks.
                self._enter(transfer, State.RECLAIMING, now, now + COMMIT_FOR)
                return [self._ask_edge(transfer, None, now)]
            case State.RESCUING | State.RECLAIMING if not message.done:
                return self._leave(transfer, now)
            case State.RECLAIMING if message.seen is not None and message.seen.spoken:
                return [self._ask_edge(transfer, transfer.peer, now), *self._leave(transfer, now)]
            case State.RETAKING if not message.done:
                return self._lose(transfer, "edge_refused", now)
            case State.RESCUING | State.RECLAIMING:
                self.count("proxy_gone")
                self._end(transfer, now)
                # It may live, and be missed by the edge alone.
                return [GoOn(id_, message.seen), transfer.abort(Reason.ENDED)]
            case State.RETAKING:
                transfer.returned = Returned(id_, True)
                self._enter(transfer, State.BACK, now, now + REMEMBER)
                self.count("returned")
                return [Resume(id_), Send(transfer.peer, transfer.returned)]
        return []

    def confirmed(self, id_: bytes, problem: str, now: float) -> list[Command]:
        """The proxy has built its socket, and the edge sends it what the client sends. ``problem``: why the connection
        is not what was offered, and the origin serves."""
        transfer = self._transfers[id_]
        transfer.steered = True
        if problem:
            commands = self._refuse(transfer, problem, Reason.STALE, now)
        else:
            self._enter(transfer, State.COMMITTED, now, now + RESEND)
            commands = [Send(transfer.peer, TransferCommit(id_)), GiveUp(id_, transfer.peer)]
        self._note(id_)
        return commands

    def taken_back(self, id_: bytes, done: bool, now: float) -> list[Command]:
        """Whether the connection could be built again. If not the proxy keeps it."""
        transfer = self._transfers[id_]
        if done:
            self._enter(transfer, State.RETAKING, now, now + COMMIT_FOR)
            asked = self._ask_edge(transfer, None, now)
            self._note(id_)
            return [asked]
        return [Send(transfer.peer, Returned(id_, False))]

    def steer_anew(self, id_: bytes, now: float) -> list[Command]:
        """The edge has started again, and knows nothing of it."""
        transfer = self._transfers[id_]
        if transfer.state not in (State.COMMITTED, State.MOVED):
            return []
        asked = self._ask_edge(transfer, transfer.peer, now)
        self._note(id_)
        return [asked]

    def adopt(self, peer: int, request: TransferRequest, reached: bool, now: float) -> list[Command]:
        """The sibling leaves, and entrusts this gateway with what a proxy has. ``reached``: whether that one is."""
        self.open[peer] += 1
        self._transfers[request.id] = Transfer(peer, request, State.MOVED, now, now, now + LONGEST)
        return self._decide(request.id, reached, now)

    def entrusted(self, id_: bytes, now: float) -> bool:
        """The sibling decides about a connection now. False: there is nothing to decide any more, or it began to come
        back."""
        transfer = self._transfers.get(id_)
        if transfer is None or transfer.state is not State.MOVED:
            return False
        self.count("entrusted")
        transfer.steer, transfer.steer_due = None, FOREVER
        self._enter(transfer, State.ENTRUSTED, now, now + LONGEST)
        self._note(id_)
        return True

    def reclaim(self, id_: bytes, reached: bool, now: float) -> list[Command]:
        """The sibling that was entrusted with it is gone."""
        self._enter(self._transfers[id_], State.MOVED, now, now + LONGEST)
        return self._decide(id_, reached, now)

    def let_be(self, id_: bytes, now: float) -> None:
        """It stays the sibling's."""
        self._end(self._transfers[id_], now)
        self._note(id_)

    def _decide(self, id_: bytes, reached: bool, now: float) -> list[Command]:
        transfer = self._transfers[id_]
        transfer.terminated = Terminated(id_, True)
        if reached:
            transfer.claimed, transfer.pause, transfer.due = False, RESEND, now + RESEND
            commands: list[Command] = [self._ask_edge(transfer, transfer.peer, now), Claim(id_, transfer.peer)]
        else:
            commands = self._rescue_in_turn(transfer, now)
        self._note(id_)
        return commands

    def make_way(self, id_: bytes, now: float) -> list[Command]:
        """The client has begun another connection of the same ends: that of this transfer is over."""
        transfer = self._transfers.get(id_)
        if transfer is None or transfer.state not in (State.ASKING, State.STEERING):
            return []
        commands = self._refuse(transfer, "client_reset", Reason.STALE, now)
        self._note(id_)
        return commands

    def miss(self, id_: bytes, now: float) -> list[Command]:
        """The edge does not reach the proxy that has a connection, whoever else may."""
        transfer = self._transfers[id_]
        if transfer.state not in (State.COMMITTED, State.MOVED):
            return []
        commands = self._rescue_in_turn(transfer, now)
        self._note(id_)
        return commands

    def receive_down(self, peer: int, now: float, spared: Container[bytes] = ()) -> list[Command]:
        """The session with a proxy is gone. Requests that it was asked about go to the origin at once. Connections that
        it has go on here if the edge does not reach it either, but for those that are ``spared``."""
        commands: list[Command] = []
        for id_, transfer in list(self._transfers.items()):
            if transfer.peer != peer or id_ in spared:
                continue
            match transfer.state:
                case State.ASKING | State.STEERING:
                    commands += self._refuse(transfer, "proxy_down", Reason.STALE, now)
                case State.COMMITTED | State.MOVED:
                    commands += self._rescue_in_turn(transfer, now)
            self._note(id_)
        return commands

    def handle_timeout(self, now: float) -> list[Command]:
        commands: list[Command] = []
        for id_ in self._deadlines.passed(now):
            commands += self._overdue(id_, self._transfers[id_], now)
            self._note(id_)
        return commands

    def _overdue(self, id_: bytes, transfer: Transfer, now: float) -> list[Command]:
        commands: list[Command] = []
        if transfer.steer is not None and transfer.steer_due <= now:
            if now >= transfer.steer_until:
                # The edge is gone, and with it its client.
                transfer.steer, transfer.steer_due = None, FOREVER
            else:
                if transfer.state not in (State.ASKING, State.STEERING):
                    # Nobody serves the client otherwise, and there may be thousands of them.
                    transfer.steer_pause = min(transfer.steer_pause * 1.5, SLOWEST_RESEND)
                transfer.steer_due = now + transfer.steer_pause
                commands.append(transfer.steer)
        if transfer.due > now:
            return commands
        match transfer.state:
            case State.ASKING if now - transfer.asked >= ASK_FOR:
                commands += self._refuse(transfer, "silent", Reason.STALE, now)
            case State.ASKING:
                transfer.due = min(now + RESEND, transfer.asked + ASK_FOR)
                commands.append(Send(transfer.peer, transfer.request))
            case State.STEERING:
                self.count("refused/edge_silent")
                commands.append(self._ask_edge(transfer, None, now))
                commands += [*self._release(transfer, "edge_silent", now), transfer.abort(Reason.STALE)]
            case State.COMMITTED if now - transfer.began >= COMMIT_FOR:
                commands += self._rescue(transfer, None, now)
            case State.COMMITTED:
                # The client waits: only a proxy that is likely dead is asked less often.
                if now - transfer.began >= ASK_FOR:
                    transfer.pause = min(transfer.pause * 1.5, SLOWEST_RESEND)
                transfer.due = now + transfer.pause
                commands.append(Send(transfer.peer, TransferCommit(id_)))
            case State.MISSED:
                commands += self._rescue(transfer, IF_GONE, now)
            case State.RETAKING | State.RESCUING | State.RECLAIMING:
                commands += self._lose(transfer, "edge_silent", now)
            case State.MOVED if not transfer.claimed and now - transfer.began < LONGEST:
                transfer.pause = min(transfer.pause * 1.5, SLOWEST_CLAIM)
                transfer.due = now + transfer.pause
                commands.append(Claim(id_, transfer.peer))
            case State.MOVED:
                self._end(transfer, now)
            case State.BACK | State.ENTRUSTED | State.ENDED:
                del self._transfers[id_]
        return commands

    def _accepted(self, transfer: Transfer, message: TransferAccept, now: float) -> list[Command]:
        id_ = message.id
        match transfer.state:
            case State.ASKING if message.numbers != transfer.request.numbers:
                return self._refuse(transfer, "mismatch", Reason.MISMATCH, now)
            case State.ASKING:
                self.count("accepted")
                if transfer.steered:
                    return [Confirm(id_)]
                self._enter(transfer, State.STEERING, now, max(now + RESEND, transfer.asked + STEER_FOR))
                return [] if transfer.steer is not None else [self._ask_edge(transfer, transfer.peer, now)]
            case State.ENDED:
                self.count("late")
                return [Send(transfer.peer, TransferAbort(id_, Reason.STALE))]
        return []

    def _refused(self, transfer: Transfer, reason: Reason, now: float) -> list[Command]:
        word = reason.name.lower()
        match transfer.state:
            case State.ASKING | State.STEERING:
                return self._refuse(transfer, word, None, now)
            case State.COMMITTED if reason is Reason.ENDED:
                # Served, and over before we heard that it began.
                end = self._moved(transfer, How.FIN, transfer.request.numbers.receive_next)
                self._end(transfer, now)
                return [end]
            case State.COMMITTED:
                return self._rescue(transfer, None, now)
            case State.MOVED:
                self._end(transfer, now)
            case State.MISSED | State.RESCUING | State.RECLAIMING if reason is Reason.ENDED:
                self._end(transfer, now)
                return [Hold(transfer.request.id, held=False)]
        return []

    def _terminate(self, transfer: Transfer, message: Terminate, now: float) -> list[Command]:
        commands: list[Command] = []
        if transfer.state is State.COMMITTED:
            self._enter(transfer, State.MOVED, now, now + LONGEST)
            commands.append(self._moved(transfer, message.how, message.sequence))
        elif transfer.state is State.MOVED and not transfer.claimed:
            transfer.claimed, transfer.due = True, transfer.began + LONGEST
        if transfer.terminated is not None:
            return [*commands, Send(transfer.peer, transfer.terminated)]
        return [Send(transfer.peer, TransferAbort(message.id, Reason.STALE))]

    def _moved(self, transfer: Transfer, how: How, sequence: int) -> EndServer:
        self.count("moved")
        transfer.terminated = Terminated(transfer.request.id, True)
        return EndServer(transfer.request.id, how, sequence)

    def _return(self, transfer: Transfer, message: Return, now: float) -> list[Command]:
        if transfer.returned is not None:
            return [Send(transfer.peer, transfer.returned)]
        match transfer.state:
            case State.MOVED:
                return [TakeBack(message.id, message.numbers, message.record)]
            case State.COMMITTED | State.RETAKING | State.ENTRUSTED:
                # A TERMINATE that was overtaken, or an edge that has yet to answer; or who is to be asked now has yet
                # to say so to the proxy: it comes again.
                return []
            case _:
                return [Send(transfer.peer, Returned(message.id, False))]

    def _refuse(self, transfer: Transfer, why: str, tell: Reason | None, now: float) -> list[Command]:
        """The origin is to serve. ``tell``: what the proxy is told, unless it says so itself."""
        self.count(f"refused/{why}")
        told: list[Command] = [] if tell is None else [transfer.abort(tell)]
        asked = transfer.steer is not None or transfer.steered
        back: list[Command] = [self._ask_edge(transfer, None, now)] if asked else []
        # The client waits for the origin, not for the edge.
        return [*self._release(transfer, why, now), *back, *told]

    def _release(self, transfer: Transfer, why: str, now: float) -> list[Command]:
        """The origin serves."""
        self._end(transfer, now)
        return [Release(transfer.request.id, why)]
