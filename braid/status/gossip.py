"""Summaries of all nodes, passed on from neighbour to neighbour. Pure: messages and time in, messages out.

Each node tells its own summary at an interval and passes on what is new to it, each message once, to at most ``FANOUT``
neighbours. A message comes over an authenticated session, so from a member; but members are believed about others.
What goes out is bounded: the more nodes there are, the rarer and the shorter are the summaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from braid.errors import BadPacket
from braid.status.wire import MAX_PARTS, MAX_SEQUENCE, Part, Record, assemble, decode, encode, identity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from random import Random

    from braid.status.summary import Summary

FANOUT = 4
RATE = 100.0
"""Messages per second that a node sends at most, its own and others'; a message has at most 1100 bytes."""
BURST = 200.0
TAKEN = 200.0
"""Messages per second that are taken from one neighbour; a good one sends at most ``RATE``."""
INTERVAL = 2.0
"""Seconds between summaries of one node when nothing changes, in an overlay small enough."""
AT_ONCE = 1.0
"""Seconds after the last one when something changed."""
LONGEST = 10.0
"""Seconds to which the interval grows before summaries are cut instead."""
STALE, GONE = 3.0, 12.0
"""Intervals (and as many seconds) without news after which a summary is marked as old, and is forgotten."""
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


class Gossip:
    """``number`` is this node's. What the core hands over is a message of a neighbour's session, never twice."""

    def __init__(self, number: int, rng: Random) -> None:
        self._number = number
        self._rng = rng
        self._members: frozenset[int] = frozenset()
        self._known: dict[int, Known] = {}
        self._arriving: dict[int, _Arriving] = {}
        self._sequence = 0
        self._told_at = -MAX_INTERVAL
        self._interval = INTERVAL
        self._parts = MAX_PARTS
        self._outgoing = _Bucket(RATE, BURST, BURST)
        self._incoming: dict[int, _Bucket] = {}
        self.counts = dict.fromkeys(("received", "old", "bad", "foreign", "excess", "sent", "held_back"), 0)

    def set_members(self, numbers: Collection[int]) -> None:
        """Whose summaries are kept: the nodes of the topology."""
        self._members = frozenset(numbers)
        for memory in (self._known, self._arriving, self._incoming):
            for number in [number for number in memory if number not in self._members]:
                del memory[number]

    def due(self, now: float, changed: bool) -> bool:
        """Whether it is time for this node's own summary."""
        return now - self._told_at >= (min(AT_ONCE, self._interval) if changed else self._interval) - 0.01

    def tell(self, summary: Summary, neighbours: Sequence[int], now: float, wall: float) -> list[tuple[int, bytes]]:
        """This node's own summary, as messages to neighbours that are up. ``wall`` makes it newer than any from before
        a restart."""
        self._sequence = max(self._sequence + 1, int(wall * 1000))
        nodes, fan = max(1, len(self._members)), max(1, min(FANOUT, len(neighbours)))
        self._parts = max(1, min(MAX_PARTS, int(RATE * LONGEST / (nodes * fan))))
        messages = encode(summary, self._sequence, self._interval, self._parts)
        self._interval = max(INTERVAL, nodes * fan * len(messages) / RATE)
        self._told_at = now
        chosen = self._choose(neighbours)
        return self._limited([(number, message) for number in chosen for message in messages], now)

    def receive(self, sender: int, message: bytes, neighbours: Sequence[int], now: float) -> list[tuple[int, bytes]]:
        """A message of a neighbour; returns what is to be passed on. Never raises: what is no summary is counted."""
        bucket = self._incoming.setdefault(sender, _Bucket(TAKEN, 2 * TAKEN, 2 * TAKEN, now))
        if not bucket.take(1, now):
            self.counts["excess"] += 1
            return []
        try:
            origin, sequence, number = identity(message)
            if origin == self._number:
                self._outrun(sequence)
                return []
            if origin not in self._members:
                self.counts["foreign"] += 1
                return []
            if self._is_old(origin, sequence, number, now):
                self.counts["old"] += 1
                return []
            part = decode(message)
        except BadPacket:
            self.counts["bad"] += 1
            return []
        self.counts["received"] += 1
        self._take(origin, part, now)
        others = [neighbour for neighbour in neighbours if neighbour not in (sender, origin)]
        return self._limited([(neighbour, message) for neighbour in self._choose(others)], now)

    def known(self, now: float) -> dict[int, Known]:
        """The newest whole summary of each other node that was heard of lately."""
        for number in [number for number, entry in self._known.items() if entry.gone(now)]:
            del self._known[number]
            self._arriving.pop(number, None)
        return dict(self._known)

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
        self._known[origin] = Known(assemble(part.head, records), now, interval, part.sequence)

    def _outrun(self, sequence: int) -> None:
        """A summary in our name that is newer than ours: from before our clock was set back, or from a liar."""
        if self._sequence < sequence < MAX_SEQUENCE:
            self._sequence = sequence

    def _choose(self, neighbours: Sequence[int]) -> list[int]:
        return list(neighbours) if len(neighbours) <= FANOUT else self._rng.sample(list(neighbours), FANOUT)

    def _limited(self, messages: list[tuple[int, bytes]], now: float) -> list[tuple[int, bytes]]:
        allowed = messages[: self._outgoing.take(len(messages), now)]
        self.counts["sent"] += len(allowed)
        self.counts["held_back"] += len(messages) - len(allowed)
        return allowed
