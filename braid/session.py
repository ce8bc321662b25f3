"""Which peers need a session, and when a handshake is sent: events in, commands out. The Noise itself is in the core.

Rule 1: no clock, no randomness and no IO here; ``now`` (monotonic seconds) and ``rng`` are arguments.
Rule 2: both ends may initiate. The one that initiated the current session renews it; the other only if that fails.
Rule 3: a session lives exactly as long as its peer is wanted and believed (``set_peers``).
Rule 4: end-to-end handshakes travel over neighbours, so without one in working order they wait for the first.
Rule 5: every initiation passes ``_schedule``, so nothing a peer does makes us send more than one per ``MIN_SPACING``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from braid.events import Down, Established, Initiation, Rekey, Up

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

FIRST_JITTER = 0.05
"""Seconds; spreads the first initiations of a node that has many peers."""
BACKOFF = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between initiations, the last one for as long as the peer is unreachable."""
BACKOFF_JITTER = 0.2
RECENT = 60.0
RECENT_CAP = 1.0
"""A peer that was up less than ``RECENT`` seconds ago is tried this often: its restart is found within a second."""
MIN_SPACING = 0.2
REKEY_AFTER = 120.0
REKEY_JITTER = 0.1
REKEY_FALLBACK = 150.0
"""Age of a session at which its responder renews it, because its initiator should have."""
LOG_AGAIN = 600.0
LOG_MEMORY = 1024
"""Refusals remembered; peers beyond it share one entry per reason, since the numbers they claim are hostile."""

NOT_A_PEER = "not_a_peer"


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """One session with one peer: ``adjacent`` tells hop keys with a neighbour from end-to-end keys."""

    peer: int
    adjacent: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a wanted peer's certificate."""

    can_initiate: bool = True
    """False without its static key: then the peer has to begin."""
    distrust: str | None = None
    """Why it may have no session now (expired, revoked ...)."""


@dataclass(frozen=True, slots=True)
class Initiate:
    relation: Relation


@dataclass(frozen=True, slots=True)
class Accept:
    initiation: int


@dataclass(frozen=True, slots=True)
class Refuse:
    initiation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    relation: Relation


@dataclass(frozen=True, slots=True)
class Restarted:
    """Another process of the peer is there than before, missed or not: it knows nothing of what that one was told."""

    relation: Relation


@dataclass(frozen=True, slots=True)
class Log:
    level: Literal["debug", "info", "warning"]
    event: str
    relation: Relation
    fields: Mapping[str, str | int] = field(default_factory=dict)


Command = Initiate | Accept | Refuse | Close | Restarted | Log


class State(StrEnum):
    WAITING = "waiting"
    """No usable session; initiations go out."""
    UP = "up"
    REKEYING = "rekeying"
    """The session works and its successor is being negotiated."""


class Trigger(StrEnum):
    ESTABLISHED = "established"
    HEARD = "heard"
    SILENT = "silent"
    RENEW = "renew"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.WAITING, Trigger.ESTABLISHED): State.UP,
    (State.WAITING, Trigger.HEARD): State.UP,
    (State.WAITING, Trigger.SILENT): State.WAITING,
    (State.WAITING, Trigger.RENEW): State.WAITING,
    (State.UP, Trigger.ESTABLISHED): State.UP,
    (State.UP, Trigger.HEARD): State.UP,
    (State.UP, Trigger.SILENT): State.WAITING,
    (State.UP, Trigger.RENEW): State.REKEYING,
    (State.REKEYING, Trigger.ESTABLISHED): State.UP,
    (State.REKEYING, Trigger.HEARD): State.REKEYING,
    (State.REKEYING, Trigger.SILENT): State.WAITING,
    (State.REKEYING, Trigger.RENEW): State.REKEYING,
}


@dataclass(slots=True)
class _Session:
    standing: Standing
    state: State = State.WAITING
    attempts: int = 0
    due: float | None = None
    """When to initiate next; in state UP, when to renew."""
    initiated: float | None = None
    """When the last initiation was sent."""
    last_up: float | None = None
    boot: int | None = None
    """Of the peer's process, when keys were last made."""


class SessionManager:
    """All sessions of one node. Each call returns the commands to carry out, in order; call ``handle_timeout`` at or
    after ``next_timeout``."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._sessions: dict[Relation, _Session] = {}
        self._logged: dict[tuple[int | None, str], float] = {}
        self.refusals: Counter[str] = Counter()
        self.initiations = 0
        self.accepted = 0

    def set_peers(self, wanted: Mapping[Relation, Standing], now: float) -> list[Command]:
        """The peers to have a session with, and what is thought of their certificates. Others are closed."""
        commands: list[Command] = []
        for relation in [known for known in self._sessions if known not in wanted]:
            del self._sessions[relation]
            commands += [Close(relation), Log("info", "peer removed", relation)]
        for relation, standing in sorted(wanted.items(), key=lambda item: item[0]):
            session = self._sessions.get(relation)
            if session is None:
                self._sessions[relation] = session = _Session(standing)
                commands += self._distrust(relation, session, now) if standing.distrust else []
                self._restart(session, now)
            elif session.standing != standing:
                session.standing = standing
                commands += self._distrust(relation, session, now) if standing.distrust else []
                if session.state is State.WAITING:
                    self._restart(session, now)
                elif session.due is None:
                    self._schedule_renewal(session, initiator=False, now=now)
        return commands

    def receive_initiation(self, initiation: Initiation, refusal: str | None, now: float) -> list[Command]:
        """A peer's initiation and the verdict on its certificate: ``refusal`` is the reason, or None if it is valid."""
        relation = Relation(initiation.peer, initiation.adjacent)
        session = self._sessions.get(relation)
        if refusal is None and session is None:
            refusal = NOT_A_PEER
        if refusal is not None or session is None:
            reason = refusal or NOT_A_PEER
            self.refusals[reason] += 1
            return [Refuse(initiation.id, reason), *self._log_once("initiation refused", relation, reason, now)]
        session.standing = Standing(session.standing.can_initiate)
        if session.state is not State.UP:
            # The peer's own handshake is about to succeed; crossing it with ours would only cost another one.
            self._schedule(session, now + BACKOFF[0], now)
        self.accepted += 1
        return [Accept(initiation.id)]

    def receive(self, event: Established | Up | Down | Rekey, now: float) -> list[Command]:
        relation = Relation(event.peer, event.adjacent)
        session = self._sessions.get(relation)
        if session is None or session.standing.distrust:
            # Keys that were confirmed while the peer was being removed.
            return [Close(relation)] if isinstance(event, Established) else []
        before, commands = session.state, list[Command]()
        match event:
            case Established():
                if session.boot not in (None, event.boot):
                    commands += [Restarted(relation), Log("info", "peer has started again", relation)]
                session.boot = event.boot
                self._enter(session, Trigger.ESTABLISHED)
                self._schedule_renewal(session, event.initiator, now)
            case Up():
                self._enter(session, Trigger.HEARD)
                if before is State.WAITING:
                    self._schedule_renewal(session, initiator=False, now=now)
            case Down():
                self._enter(session, Trigger.SILENT)
                session.last_up = now if before is not State.WAITING else session.last_up
                if before is not State.WAITING:
                    self._restart(session, now)
            case Rekey():
                self._enter(session, Trigger.RENEW)
                if before is State.UP:
                    self._begin(session, now, now)
        return [*commands, *self._report(relation, before, session, event, now)]

    def handle_timeout(self, now: float) -> list[Command]:
        commands: list[Command] = []
        connected = self._connected()
        for relation, session in self._sessions.items():
            if session.due is None or session.due > now:
                continue
            if session.state is State.UP:
                self._enter(session, Trigger.RENEW)
                session.attempts = 0
            if not (relation.adjacent or connected):
                session.due = None
                continue
            commands.append(Initiate(relation))
            self.initiations += 1
            session.initiated = now
            self._schedule(session, now + self._backoff(session, now), now)
            session.attempts += 1
        return commands

    def next_timeout(self) -> float | None:
        return min((session.due for session in self._sessions.values() if session.due is not None), default=None)

    def is_up(self, peer: int, adjacent: bool) -> bool:
        session = self._sessions.get(Relation(peer, adjacent))
        return session is not None and session.state is not State.WAITING

    def up(self) -> frozenset[Relation]:
        return frozenset(relation for relation, session in self._sessions.items() if session.state is not State.WAITING)

    def _enter(self, session: _Session, trigger: Trigger) -> None:
        session.state = TRANSITIONS[session.state, trigger]

    def _report(
        self,
        relation: Relation,
        before: State,
        session: _Session,
        event: Established | Up | Down | Rekey,
        now: float,
    ) -> list[Command]:
        if before is not State.WAITING and session.state is State.WAITING:
            return [Log("warning", "peer down", relation)]
        if before is State.WAITING and session.state is not State.WAITING:
            if relation.adjacent:
                self._hurry_end_to_end(now)
            fields = {"epoch": event.epoch} if isinstance(event, Established) else {}
            return [Log("info", "peer up", relation, fields)]
        if isinstance(event, Established):
            return [Log("debug", "session renewed", relation, {"epoch": event.epoch})]
        return []

    def _connected(self) -> bool:
        return any(
            relation.adjacent and session.state is not State.WAITING for relation, session in self._sessions.items()
        )

    def _hurry_end_to_end(self, now: float) -> None:
        """One more neighbour is the moment to try again what does not work, and what had to wait."""
        for relation, session in self._sessions.items():
            if not relation.adjacent and (session.state is State.WAITING or session.due is None):
                self._restart(session, now)

    def _distrust(self, relation: Relation, session: _Session, now: float) -> list[Command]:
        session.state = State.WAITING
        session.due = None
        reason = session.standing.distrust or ""
        return [Close(relation), *self._log_once("peer distrusted", relation, reason, now)]

    def _log_once(self, event: str, relation: Relation, reason: str, now: float) -> list[Command]:
        own = (relation.peer, reason)
        key = own if own in self._logged or len(self._logged) < LOG_MEMORY else (None, reason)
        if now - self._logged.get(key, -LOG_AGAIN) < LOG_AGAIN:
            return []
        if len(self._logged) >= LOG_MEMORY:
            self._logged = {key: logged for key, logged in self._logged.items() if now - logged < LOG_AGAIN}
        self._logged[key] = now
        return [Log("warning", event, relation, {"reason": reason})]

    def _restart(self, session: _Session, now: float) -> None:
        self._begin(session, now + self._rng.uniform(0, FIRST_JITTER), now)

    def _begin(self, session: _Session, at: float, now: float) -> None:
        session.attempts = 0
        self._schedule(session, at, now)

    def _schedule(self, session: _Session, at: float, now: float) -> None:
        if not session.standing.can_initiate or session.standing.distrust:
            session.due = None
            return
        earliest = now if session.initiated is None else session.initiated + MIN_SPACING
        session.due = max(at, earliest)

    def _schedule_renewal(self, session: _Session, initiator: bool, now: float) -> None:
        session.attempts = 0
        session.last_up = now
        age = REKEY_AFTER if initiator else REKEY_FALLBACK
        spread = REKEY_JITTER if initiator else 0.0
        self._schedule(session, now + age * self._rng.uniform(1 - spread, 1 + spread), now)

    def _backoff(self, session: _Session, now: float) -> float:
        delay = BACKOFF[min(session.attempts, len(BACKOFF) - 1)]
        up_now = session.state is State.REKEYING
        if up_now or (session.last_up is not None and now - session.last_up < RECENT):
            delay = min(delay, RECENT_CAP)
        return delay * self._rng.uniform(1 - BACKOFF_JITTER, 1 + BACKOFF_JITTER)
