"""Summaries of all nodes, passed on from neighbour to neighbour. Pure: messages and time in, messages out.

Each node tells its own summary at an interval and passes on what is new to it, each message once, together with others
and not to who has it already. A node hears each message from about ``FANOUT`` of its neighbours, one with few of them
from all. A message comes over an authenticated session, so from a member; but members are believed about others. What
goes out is bounded: the more nodes there are, the rarer and the shorter are the summaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.status.wire import MAX_PARTS, MAX_SEQUENCE, Part, Record, assemble, decode, encode, identity, joined, parted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from random import Random

    from braid.status.summary import ChangeReport, Summary

FANOUT = 3
RATE = 100.0
"""Control messages per second that a node sends at most, its own and others' summaries; one has at most 1100 bytes."""
BURST = 200.0
LARGE = 25
"""Other nodes from which on an overlay is large: only then do summaries spare each other."""
QUIET = 15.0
"""Messages per second, copies included, that a node of a large overlay should hear while nothing changes."""
TAKEN = 200.0
"""Messages per second that are taken from one neighbour."""
INTERVAL = 2.0
"""Seconds between summaries of one node when nothing changes, in an overlay small enough."""
AT_ONCE = 1.0
"""Seconds after the last one when something changed."""
LONGEST = 10.0
"""Seconds to which the interval grows before summaries are cut instead."""
WAIT = 1.0
"""Seconds for which a message that is no news waits, in an overlay that is not small, and at most as long again, for
others to go with. Where no neighbour has fewer neighbours it waits ``WAIT_LONGER``: until then they mostly have it."""
WAIT_LONGER = 3.0
LAST = 3.0
"""Seconds after which a node with few neighbours tells those with very many what nobody else seems to have told."""
SPREAD = 0.2
"""Share of the interval by which it varies, so that nodes that started together do not all tell at the same time."""
STALE, GONE = 3.0, 12.0
"""Intervals (and as many seconds) without news after which a summary is marked as old, and is forgotten."""
CHANGES_AGAIN, RARELY = 60.0, 300.0
"""Seconds after which a summary repeats the last changes, for nodes that started since; others keep them. They are most
of what there is to tell, so it is rarer in a large overlay."""
MAX_INTERVAL = 60.0
"""Seconds; what a message says beyond that is not believed."""


@dataclass(frozen=True, slots=True)
class Known:
    summary: Summary
    heard: float
    """Seconds of the caller's monotonic clock."""
    interval_s: float
    sequence: int

    def stale(self, now: float) -> bool:
        return now - self.heard > STALE * (self.interval_s + 1)

    def gone(self, now: float) -> bool:
        return now - self.heard > GONE * (self.interval_s + 1)


@dataclass(slots=True)
class _Bucket:
    rate: float
    burst: float
    tokens: float
    filled: float = 0.0

    def take(self, wanted: int, now: float) -> int:
        """How many of so many may pass now."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.filled) * self.rate)
        self.filled = max(self.filled, now)
        passed = min(wanted, int(self.tokens))
        self.tokens -= passed
        return passed


@dataclass(slots=True)
class _Arriving:
    sequence: int
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(slots=True)
class _Waiting:
    """A message that is to be passed on."""

    sequence: int
    message: bytes
    since: float
    news: bool
    had: set[int]
    """Neighbours that have it."""
    again: bool = False
    """It went out once, to neighbours with very many neighbours only by chance."""


class Gossip:
    """``number`` is this node's. What the core hands over is a message of a neighbour's session, never twice."""

    def __init__(self, number: int, rng: Random) -> None:
        self._number = number
        self._rng = rng
        self._members: frozenset[int] = frozenset()
        self._known: dict[int, Known] = {}
        self._arriving: dict[int, _Arriving] = {}
        self._waiting: dict[tuple[int, int], _Waiting] = {}
        """By origin and part: the newest of each."""
        self._sequence = 0
        self._told_at = -MAX_INTERVAL
        self._changes_at = -RARELY
        self._pause = 0.0
        """Until the next summary when nothing changes."""
        self._interval = INTERVAL
        self._outgoing = _Bucket(RATE, BURST, BURST)
        self._incoming: dict[int, _Bucket] = {}
        self.counts = dict.fromkeys(("received", "old", "bad", "foreign", "excess", "sent", "held_back"), 0)

    def set_members(self, numbers: Collection[int]) -> None:
        """Whose summaries are kept: the nodes of the topology."""
        members = frozenset(numbers)
        if members == self._members:
            return
        self._members = members
        for memory in (self._known, self._arriving, self._incoming):
            for number in [number for number in memory if number not in members]:
                del memory[number]
        kept = members | {self._number}
        self._waiting = {key: waiting for key, waiting in self._waiting.items() if key[0] in kept}

    @property
    def _is_large(self) -> bool:
        return len(self._members) >= LARGE

    def due(self, now: float, changed: bool) -> bool:
        """Whether it is time for this node's own summary."""
        return now - self._told_at >= (min(AT_ONCE, self._pause) if changed else self._pause) - 0.01

    def tell(self, summary: Summary, now: float, wall: float, *, news: bool = False) -> None:
        """This node's own summary, for the next ``pass_on``. ``wall`` makes it newer than any from before a restart;
        ``news`` lets it wait nowhere."""
        self._sequence = max(self._sequence + 1, int(wall * 1000))
        heard = max(1, len(self._members)) * FANOUT
        most = max(1, min(MAX_PARTS, int(RATE * LONGEST / heard)))
        if news or now - self._changes_at >= (RARELY if self._is_large else CHANGES_AGAIN):
            self._changes_at = now
        else:
            summary = replace(summary, changes=())
        messages = encode(summary, self._sequence, self._interval, most, news=news)
        for key in [key for key in self._waiting if key[0] == self._number]:
            del self._waiting[key]
        for part, message in enumerate(messages):
            self._waiting[self._number, part] = _Waiting(self._sequence, message, now, news, set())
        heard *= len(messages)
        pace = QUIET if self._is_large else RATE
        self._interval = max(INTERVAL, min(LONGEST, heard / pace), heard / RATE)
        self._told_at, self._pause = now, self._interval
        if self._interval > INTERVAL:
            self._pause *= self._rng.uniform(1 - SPREAD, 1.0)

    def receive(self, sender: int, control: bytes, now: float) -> None:
        """Messages of a neighbour. Never raises: what is no summary is counted."""
        bucket = self._incoming.setdefault(sender, _Bucket(TAKEN, 2 * TAKEN, 2 * TAKEN, now))
        try:
            for message in parted(control):
                if not bucket.take(1, now):
                    self.counts["excess"] += 1
                    return
                self._receive(sender, message, now)
        except BadPacket:
            self.counts["bad"] += 1

    def pass_on(self, neighbours: Mapping[int, int], now: float) -> list[tuple[int, bytes]]:
        """What goes out now, as control messages to neighbours. ``neighbours`` are those that are up, with the number
        of neighbours that each of them has."""
        few = len(neighbours) <= FANOUT
        leads = any(there < len(neighbours) for there in neighbours.values())
        hold = min(WAIT if leads else WAIT_LONGER, self._interval / 2) if self._is_large else 0.0
        oldest = min((waiting.since for waiting in self._waiting.values()), default=now)
        # News take along what has waited long enough.
        everything = now - oldest >= hold + min(WAIT, hold) or any(each.news for each in self._waiting.values())
        ready = [
            (key, waiting)
            for key, waiting in self._waiting.items()
            if waiting.news or (few and key[0] == self._number) or (everything and now - waiting.since >= hold)
        ]
        if not ready:
            return []
        # With few neighbours a node may be the only one that can tell another something; mostly it is not.
        sparing = few and self._interval > WAIT_LONGER + LAST + 3 * WAIT
        wanted: dict[int, list[bytes]] = {number: [] for number in self._shuffled(neighbours)}
        for key, waiting in ready:
            again = sparing and not waiting.again and key[0] != self._number
            for number in self._choose(key[0], waiting.had, neighbours, sparing=again):
                wanted[number].append(waiting.message)
                waiting.had.add(number)
            if again:
                waiting.since, waiting.news, waiting.again = now + LAST - hold, False, True
            else:
                del self._waiting[key]
        return self._limited([(number, part) for number, messages in wanted.items() for part in joined(messages)], now)

    def known(self, now: float) -> dict[int, Known]:
        """The newest whole summary of each other node that was heard of lately."""
        for number in [number for number, entry in self._known.items() if entry.gone(now)]:
            del self._known[number]
            self._arriving.pop(number, None)
        return dict(self._known)

    def _receive(self, sender: int, message: bytes, now: float) -> None:
        origin, sequence, number = identity(message)
        if origin == self._number:
            self._outrun(sequence)
            return
        if origin not in self._members:
            self.counts["foreign"] += 1
            return
        if self._is_old(origin, sequence, number, now):
            self.counts["old"] += 1
            waiting = self._waiting.get((origin, number))
            if waiting is not None and waiting.sequence == sequence:
                waiting.had.add(sender)
            return
        part = decode(message)
        self.counts["received"] += 1
        self._take(origin, part, now)
        before = self._waiting.get((origin, number))
        since = now if before is None or before.again else before.since
        self._waiting[origin, number] = _Waiting(sequence, message, since, part.news, {sender, origin})

    def _is_old(self, origin: int, sequence: int, number: int, now: float) -> bool:
        known = self._known.get(origin)
        if known is not None and known.gone(now):
            known = None
            del self._known[origin]
            self._arriving.pop(origin, None)
        if known is not None and sequence <= known.sequence:
            return True
        arriving = self._arriving.get(origin)
        return arriving is not None and (
            sequence < arriving.sequence or (sequence == arriving.sequence and number in arriving.parts)
        )

    def _take(self, origin: int, part: Part, now: float) -> None:
        arriving = self._arriving.get(origin)
        if arriving is None or arriving.sequence != part.sequence:
            self._arriving[origin] = arriving = _Arriving(part.sequence)
        arriving.parts[part.part] = part
        if not all(index in arriving.parts for index in range(part.parts)):
            return
        records: list[Record] = [record for index in range(part.parts) for record in arriving.parts[index].records]
        interval = min(part.interval_s, MAX_INTERVAL)
        summary = assemble(part.head, records)
        before = self._known.get(origin)
        if before is not None and not summary.changes:
            summary = replace(summary, changes=_older(before.summary.changes, now - before.heard))
        self._known[origin] = Known(summary, now, interval, part.sequence)

    def _outrun(self, sequence: int) -> None:
        """A summary in our name that is newer than ours: from before our clock was set back, or from a liar."""
        if self._sequence < sequence < MAX_SEQUENCE:
            self._sequence = sequence

    def _choose(self, origin: int, had: set[int], neighbours: Mapping[int, int], *, sparing: bool) -> list[int]:
        """Who is to have a message now. Among nodes with very many neighbours each passes it to few of them."""
        here = len(neighbours)
        chosen = []
        for number, there in neighbours.items():
            many = there if sparing else min(here, there)
            if number not in had and (many <= FANOUT or self._rng.random() * many < FANOUT):
                chosen.append(number)
        if origin == self._number:
            # It comes from nowhere else.
            others = [number for number in neighbours if number not in chosen]
            chosen += self._rng.sample(others, min(FANOUT, len(others)))
        return chosen

    def _shuffled(self, neighbours: Mapping[int, int]) -> list[int]:
        """So that the bound of what is sent hits each now and then."""
        return self._rng.sample(list(neighbours), len(neighbours))

    def _limited(self, messages: list[tuple[int, bytes]], now: float) -> list[tuple[int, bytes]]:
        allowed = messages[: self._outgoing.take(len(messages), now)]
        self.counts["sent"] += len(allowed)
        self.counts["held_back"] += len(messages) - len(allowed)
        return allowed


def _older(changes: tuple[ChangeReport, ...], seconds: float) -> tuple[ChangeReport, ...]:
    return tuple(replace(change, age_s=change.age_s + round(seconds)) for change in changes)
