"""Response rate limiting: whoever writes a victim's address into queries must not turn us into a source of traffic.

One bucket for every client prefix (/24, /56), filled at a constant rate, emptied by what answers weigh: an answer of up
to ``UNIT`` bytes one, a longer one more, whatever was asked. Pure: times are monotonic seconds.
"""

from __future__ import annotations

from array import array
from enum import Enum

UNIT = 128
"""Bytes; an ordinary answer is shorter."""
BUCKETS = 1 << 16
"""Prefixes share them by their hash: memory stays the same, whoever asks."""
PREFIX_BYTES = {4: 3, 16: 7}


class Verdict(Enum):
    SEND = "send"
    SLIP = "slip"
    """Send an empty answer with TC instead: an honest client comes back over TCP."""
    DROP = "drop"


class RateLimiter:
    def __init__(self, per_second: int, slip: int) -> None:
        """``per_second`` units for each prefix, as many at once after a second of silence; 0 is no limit.
        Every ``slip``-th limited answer slips, 0 none."""
        self.per_second = per_second
        self.slip = slip
        self._level = array("d", [per_second]) * BUCKETS
        self._filled = array("d", [0.0]) * BUCKETS
        self._limited = array("L", [0]) * BUCKETS

    def judge(self, client: bytes, size: int, now: float) -> Verdict:
        """``client`` is the packed address, ``size`` the length of the answer that is ready for it."""
        if not self.per_second:
            return Verdict.SEND
        # The hash of bytes is keyed per process, so nobody can choose a prefix that shares a victim's bucket.
        bucket = hash(client[: PREFIX_BYTES[len(client)]]) % BUCKETS
        level = self._level[bucket] + (now - self._filled[bucket]) * self.per_second
        level = min(level, self.per_second)
        self._filled[bucket] = now
        cost = -(-size // UNIT)
        if level >= cost:
            self._level[bucket] = level - cost
            return Verdict.SEND
        self._level[bucket] = level
        self._limited[bucket] = (self._limited[bucket] + 1) & 0xFFFFFFFF
        return Verdict.SLIP if self.slip and self._limited[bucket] % self.slip == 0 else Verdict.DROP
