"""The payloads of probes, from docs/wire.md: the second half of `probe.rs` and `size_probe.rs` in the core."""

from __future__ import annotations

import struct
from dataclasses import dataclass

FIXED, REPORT, PATHS, OUTCOMES = 56, 12, 16, 8
RECORD, COPIES, MOST_RUNS = 3, 9, 64


@dataclass(frozen=True, slots=True)
class Report:
    number: int
    delay: int
    received: int


@dataclass(frozen=True, slots=True)
class CopyReport:
    epoch: int
    first: int
    runs: tuple[tuple[int, int], ...]
    """Packets in a row, and the paths on which their copies came."""

    def encode(self) -> bytes:
        return struct.pack(">BQ", self.epoch, self.first) + b"".join(struct.pack(">HH", *run) for run in self.runs)


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
    ask: bool = False
    copies: CopyReport | None = None

    def encode(self) -> bytes:
        heard = sum(1 << path for path, _ in self.reports)
        clocks = struct.pack(">QQQ", self.clock, self.echo, self.kept)
        paths = struct.pack(">IHHHHI", self.number, self.sent, self.used, heard, self.fresh, self.settled)
        reports = b"".join(struct.pack(">III", one.number, one.delay, one.received) for _, one in self.reports)
        return clocks + paths + struct.pack(">8H", *self.outcomes) + reports + self._records()

    def _records(self) -> bytes:
        found = struct.pack(">BH", 1, 0) if self.ask else b""
        if self.copies is None:
            return found
        body = self.copies.encode()
        return found + struct.pack(">BH", 2, len(body)) + body


def decode_probe(payload: bytes) -> Probe | None:
    """None when it is malformed."""
    if len(payload) < FIXED:
        return None
    clock, echo, kept, number, sent, used, heard, fresh, settled = struct.unpack_from(">QQQIHHHHI", payload)
    ids = [path for path in range(PATHS) if heard >> path & 1]
    end = FIXED + REPORT * len(ids)
    if len(payload) < end:
        return None
    records = _records(payload[end:])
    if records is None:
        return None
    outcomes = struct.unpack_from(">8H", payload, 40)
    found = (Report(*fields) for fields in struct.iter_unpack(">III", payload[FIXED:end]))
    reports = tuple(zip(ids, found, strict=True))
    return Probe(clock, echo, kept, number, sent, used, fresh, settled, outcomes, reports, *records)


def _records(rest: bytes) -> tuple[bool, CopyReport | None] | None:
    ask, copies = False, None
    while rest:
        if len(rest) < RECORD:
            return None
        kind, length = struct.unpack_from(">BH", rest)
        body, rest = rest[RECORD : RECORD + length], rest[RECORD + length :]
        if len(body) < length:
            return None
        ask |= kind == 1
        if kind == 2:
            if length < COPIES or (length - COPIES) % 4 or (length - COPIES) // 4 > MOST_RUNS:
                return None
            copies = CopyReport(*struct.unpack_from(">BQ", body), tuple(struct.iter_unpack(">HH", body[COPIES:])))
    return ask, copies


@dataclass(frozen=True, slots=True)
class SizeProbe:
    """The payload of kind 8."""

    what: int
    path: int
    size: int
    number: int

    def encode(self) -> bytes:
        head = struct.pack(">BBHI", self.what, self.path, self.size, self.number)
        return head.ljust(self.size, b"\0") if self.what == 1 else head


def decode_size_probe(payload: bytes) -> SizeProbe | None:
    """None when it is malformed."""
    if len(payload) < 8:
        return None
    probe = SizeProbe(*struct.unpack_from(">BBHI", payload))
    good = probe.what in (1, 2) and probe.path < 16 and probe.size >= 8
    return probe if good and probe.encode() == payload else None
