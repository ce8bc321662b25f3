"""What an attacker can say: datagrams made of recorded ones and of nothing, and what a node must think of each.

Pure; ``rng`` is seeded by the test. ``verdict`` follows docs/wire.md for somebody without keys.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.dataplane.reference import (
    COOKIE,
    HEADER,
    INITIATION,
    KEEPALIVE,
    RESPONSE,
    Header,
    Refused,
    decode,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

COOKIE_BODY = 44


def replayed(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    for at in range(count):
        yield recorded[at % len(recorded)]


def flipped(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """One bit anywhere."""
    for at in range(count):
        good = recorded[at % len(recorded)]
        yield flip(good, rng.randrange(len(good) * 8))


def flipped_where_tagged(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """One bit of what the hop tag covers, or of the tag: the header and the last 16 bytes."""
    for at in range(count):
        good = recorded[at % len(recorded)]
        byte = rng.choice([*range(HEADER), *range(len(good) - 16, len(good))])
        yield flip(good, byte * 8 + rng.randrange(8))


def flipped_inside(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """One bit of the ciphertext, which the hop tag does not cover."""
    for at in range(count):
        good = recorded[at % len(recorded)]
        yield flip(good, rng.randrange(HEADER * 8, (len(good) - 16) * 8))


def truncated(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """Cut anywhere, also to nothing."""
    for at in range(count):
        good = recorded[at % len(recorded)]
        yield good[: rng.randrange(len(good))]


def wrong_epoch(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """Another key generation of the session, of the hop keys, or of both."""
    for at in range(count):
        good = recorded[at % len(recorded)]
        header = decode(good)
        kind = rng.randrange(3)
        epoch = (header.epoch + rng.randrange(1, 256)) % 256 if kind != 0 else header.epoch
        hop_epoch = (header.hop_epoch + rng.randrange(1, 4)) % 4 if kind != 1 else header.hop_epoch
        yield replace(header, epoch=epoch, hop_epoch=hop_epoch).encode() + good[HEADER:]


def forged(recorded: Sequence[bytes], count: int, rng: Random) -> Iterator[bytes]:
    """Noise, headers that look right over noise, recorded ones with fresh sequence numbers, handshakes and cookies."""
    makers = (_noise, _plausible, _fresh, _handshake, _cookie)
    for at in range(count):
        yield makers[at % len(makers)](recorded[at % len(recorded)], rng)


def _noise(_: bytes, rng: Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 1400))


def _plausible(good: bytes, rng: Random) -> bytes:
    route = tuple(rng.choice((11, 12, 21, 22, 31, 41)) for _ in range(rng.randrange(4)))
    header = Header(
        rng.randrange(INITIATION, KEEPALIVE + 1),
        rng.randrange(16),
        rng.randrange(4),
        epoch=rng.randrange(256),
        receiver=decode(good).receiver,
        sequence=rng.getrandbits(64),
        route=route,
        hop_tag=rng.getrandbits(64),
    )
    return header.encode() + rng.randbytes(rng.randrange(16, 1400))


def _fresh(good: bytes, rng: Random) -> bytes:
    header = decode(good)
    return replace(header, sequence=header.sequence + rng.randrange(1, 1 << 20)).encode() + good[HEADER:]


def _handshake(_: bytes, rng: Random) -> bytes:
    kind = rng.choice((INITIATION, RESPONSE))
    header = Header(kind, tagged=False, receiver=rng.getrandbits(32), sequence=rng.getrandbits(64))
    return header.encode() + rng.randbytes(rng.randrange(16, 1200))


def _cookie(_: bytes, rng: Random) -> bytes:
    header = Header(COOKIE, tagged=False, receiver=rng.getrandbits(32))
    return header.encode() + rng.randbytes(COOKIE_BODY if rng.random() < 0.5 else rng.randrange(16, 100))


def flip(datagram: bytes, bit: int) -> bytes:
    changed = bytearray(datagram)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


MOST_LANES = 16
"""The nodes under attack have one shard, which takes all lanes that there are."""
FORGED_COOKIE = "handshake_unexpected or handshake_rate"
"""Answers nothing we asked; what comes too fast is not looked at."""


def verdict(datagram: bytes, *, stranger: bool) -> str:
    """Why a node drops what somebody without keys sent, unless it is a replay."""
    if not datagram:
        return "udp_empty"
    try:
        header = decode(datagram)
    except Refused as refused:
        return refused.reason
    if header.lane >= MOST_LANES:
        return "wrong_shard"
    if stranger:
        return "unknown_source"
    if header.tagged:
        return "hop_tag"
    if header.kind == COOKIE:
        return FORGED_COOKIE if len(datagram) == HEADER + COOKIE_BODY else "handshake_length"
    return "handshake_mac1"
