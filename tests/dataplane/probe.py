"""The payload of a keepalive, from docs/wire.md: the second implementation's half of `dataplane/core/src/probe.rs`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

FIXED, REPORT, PATHS, OUTCOMES = 56, 12, 16, 8


@dataclass(frozen=True, slots=True)
class Report:
    number: int
    delay: int
    received: int


@dataclass(frozen=True, slots=True)
class Probe:
    clock: int = 0
    echo: int = 0
    kept: int = 0
    number: int = 1
    sent: int = 1
    used: int = 1
    fresh: int = 0
    settled: int = 0
    outcomes: tuple[int, ...] = (0,) * OUTCOMES
    reports: tuple[tuple[int, Report], ...] = ()
    """Path id and what is reported of it, lowest first."""

    def encode(self) -> bytes:
        heard = sum(1 << path for path, _ in self.reports)
        clocks = struct.pack(">QQQ", self.clock, self.echo, self.kept)
        paths = struct.pack(">IHHHHI", self.number, self.sent, self.used, heard, self.fresh, self.settled)
        reports = b"".join(struct.pack(">III", one.number, one.delay, one.received) for _, one in self.reports)
        return clocks + paths + struct.pack(">8H", *self.outcomes) + reports


def decode_probe(payload: bytes) -> Probe | None:
    """None when it is malformed."""
    if len(payload) < FIXED:
        return None
    clock, echo, kept, number, sent, used, heard, fresh, settled = struct.unpack_from(">QQQIHHHHI", payload)
    ids = [path for path in range(PATHS) if heard >> path & 1]
    if len(payload) != FIXED + REPORT * len(ids):
        return None
    outcomes = struct.unpack_from(">8H", payload, 40)
    found = (Report(*fields) for fields in struct.iter_unpack(">III", payload[FIXED:]))
    reports = tuple(zip(ids, found, strict=True))
    return Probe(clock, echo, kept, number, sent, used, fresh, settled, outcomes, reports)
