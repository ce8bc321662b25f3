"""Clients' connections, kept while workers come and go: a descriptor of each, and what is being sent on it.

Decides nothing about HTTP, and reads no byte of a client.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from braid.streams import RESETS
from braid.tcp.progress import Progress, progress
from braid.tcp.repair import dissolve, unread
from content.carry import Answering, Dissolve, GoesOn, Reset, Source, carry_on

if TYPE_CHECKING:
    from content.words import Keep

STUCK = 3
"""Workers in a row that may die while one connection waits for its answer and gets none: it is taken for the reason."""


@dataclass(eq=False, slots=True)
class Kept:
    id: int
    socket: socket.socket
    client: str
    """Address; of a transferred connection with port."""
    listener: int
    """As of ``Take``."""
    vip: str
    facts: bytes
    """What the worker knows of a transferred connection."""
    base: Progress
    """How far it had come when its worker got it."""
    answering: Answering | None = None
    body: int = -1
    stuck: int = 0

    def close(self) -> None:
        self.forget()
        self.socket.close()

    def forget(self) -> None:
        self.answering = None
        if self.body >= 0:
            os.close(self.body)
            self.body = -1


class Keeper:
    """Connections by number. Messages about others are of a worker that is wrong; they are counted as ``stray``."""

    def __init__(self) -> None:
        self.kept: dict[int, Kept] = {}
        self.counts: Counter[str] = Counter()
        """``carried``: connections that went on with another worker, of them ``resumed`` in the middle of an answer.
        ``reset/reason`` of those that could not. ``stray``."""
        self._next = 0

    def accepted(self, opened: socket.socket, client: str, listener: int) -> Kept:
        self._next += 1
        return self._add(Kept(self._next, opened, client, listener, "", b"", progress(opened)))

    def transferred(self, keep: Keep, opened: socket.socket) -> None:
        if keep.id in self.kept:
            self.counts["stray"] += 1
            opened.close()
            return
        base = Progress(keep.read, keep.written, True)
        self._add(Kept(keep.id, opened, keep.client, -1, keep.vip, keep.data, base))

    def know(self, id_: int, facts: bytes) -> None:
        kept = self._find(id_)
        if kept is not None:
            kept.facts = facts

    def told(self, id_: int, answering: Answering, descriptor: int) -> None:
        """The descriptor is the keeper's from now on."""
        kept = self._find(id_)
        if kept is None:
            if descriptor >= 0:
                os.close(descriptor)
            return
        kept.forget()
        kept.answering, kept.body = answering, descriptor

    def settled(self, id_: int) -> None:
        kept = self._find(id_)
        if kept is not None:
            kept.forget()

    def ended(self, id_: int) -> None:
        kept = self._find(id_)
        if kept is not None:
            del self.kept[id_]
            kept.close()

    @property
    def left(self) -> list[Kept]:
        """Those that their gateways may go on with if this node is gone without a word."""
        return [kept for kept in self.kept.values() if kept.vip and not _only_here(kept)]

    def close(self) -> None:
        """All; of those that are ``left`` nobody hears."""
        for kept in self.left:
            with suppress(OSError):
                dissolve(kept.socket)
        for kept in self.kept.values():
            kept.close()
        self.kept.clear()

    def carry_on(self) -> list[Kept]:
        """The worker is dead: what cannot go on with another one is closed. Returns the transferred ones of these."""
        over: list[Kept] = []
        for kept in list(self.kept.values()):
            if not self._goes_on(kept):
                del self.kept[kept.id]
                kept.close()
                over += [kept] if kept.vip else []
        return over

    def given(self) -> list[Kept]:
        """All, for a worker that has none yet: those in the middle of an answer do not wait for the others."""
        return sorted(self.kept.values(), key=lambda kept: kept.answering is None)

    def _goes_on(self, kept: Kept) -> bool:
        try:
            now = progress(kept.socket)
        except OSError:
            return False
        if not now.open:
            return False
        read, written = now.read - kept.base.read, now.written - kept.base.written
        match carry_on(kept.answering, read, written):
            case Reset(why):
                return self._reset(kept, why)
            case Dissolve():
                with suppress(OSError):
                    dissolve(kept.socket)
                return False
            case GoesOn(answering):
                kept.stuck = 0 if read or written or not _waits(kept) else kept.stuck + 1
                if kept.stuck >= STUCK:
                    return self._reset(kept, "stuck")
                kept.base = now
                if answering is None:
                    kept.forget()
                kept.answering = answering
                self.counts["carried"] += 1
                self.counts["resumed"] += answering is not None
                return True

    def _reset(self, kept: Kept, why: str) -> bool:
        self.counts[f"reset/{why}"] += 1
        with suppress(OSError):
            kept.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        return False

    def _add(self, kept: Kept) -> Kept:
        self.kept[kept.id] = kept
        return kept

    def _find(self, id_: int) -> Kept | None:
        found = self.kept.get(id_)
        if found is None:
            self.counts["stray"] += 1
        return found


def _only_here(kept: Kept) -> bool:
    """Its keys are those of a worker, or its request must not be made twice."""
    return kept.answering is not None and kept.answering.source is Source.ONCE


def _waits(kept: Kept) -> bool:
    """There is a request whose answer has not come to its end."""
    return kept.answering is not None or unread(kept.socket.fileno()) > 0
