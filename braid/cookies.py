"""Keys of SYN cookies: one per period, from a secret that the gateways of a region share. Pure.

A cookie is good in the period in which it was made and in the next one; the key of the period to come is there too, for
gateways whose clocks are ahead. What a cookie is, ``dataplane/fastpath/src/cookie.rs`` says.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

PERIOD = 64.0
"""Seconds. Clocks of a region's gateways may differ by as much."""
SECRET_BYTES = 16


class PeriodKeys(NamedTuple):
    """``keys`` has (period, 16 bytes) for the period before ``current``, for it, and for the one after."""

    current: int
    keys: tuple[tuple[int, bytes], ...]


def period_key(secret: bytes, period: int) -> bytes:
    """BLAKE2b (RFC 7693) of the period's number in 8 bytes, big-endian, keyed with the secret: 16 bytes."""
    number = period.to_bytes(8, "big")
    return hashlib.blake2b(number, digest_size=16, key=secret, person=b"braid syn cookie").digest()


def period_keys(secret: bytes, unix: float) -> PeriodKeys:
    """What holds at a time in seconds since 1970."""
    current = int(unix // PERIOD)
    return PeriodKeys(current, tuple((each, period_key(secret, each)) for each in (current - 1, current, current + 1)))


def next_change(unix: float) -> float:
    """When the next period begins."""
    return (unix // PERIOD + 1) * PERIOD
