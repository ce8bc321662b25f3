"""What was measured lately: per subject ten minutes by the second and a day by the minute, in bounded memory. Pure.

A subject is a neighbour, a path or an application of some node. What was not measured is a gap and stays one: a minute
without a measured second has no value either.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Subject = tuple[str, str, str]
"""Node, kind ("neighbour", "path", "application"), name."""

SECONDS, MINUTES = 600, 1440
MAX_BYTES = 16 << 20
"""Of all values of a node's history. A path with six fields takes 49 kB, so about 340 subjects fit."""
LOOK_AGAIN = 30.0
"""Seconds between looks for room once there was none: a look goes through all subjects."""
_VALUE_BYTES = 4
_GAP = math.nan


@dataclass(frozen=True, slots=True)
class Curve:
    """``values[-1]`` is the newest; each stands for ``step_s`` seconds. None: not measured."""

    step_s: int
    values: dict[str, list[float | None]]


class _Ring:
    """The values of the last ``size`` slots; slots are numbered by time. Never more memory than at the start."""

    __slots__ = ("_size", "_values", "newest")

    def __init__(self, size: int) -> None:
        self._size = size
        self._values = array("f", [_GAP]) * size
        self.newest = -1

    def put(self, slot: int, value: float, lasted: int = 1) -> None:
        """``value`` stands for ``lasted`` slots, ``slot`` the last of them; those that have a value keep it."""
        size, values, newest = self._size, self._values, self.newest
        if slot != newest + 1:
            before = newest if newest >= 0 else max(slot - lasted, -1)
            first, since = max(before + 1, slot - size + 1), slot - lasted + 1
            for skipped in range(first, since):
                values[skipped % size] = _GAP
            for held in range(max(first, since), slot):
                values[held % size] = value
        values[slot % size] = value
        self.newest = slot

    def read(self, last: int, count: int) -> list[float | None]:
        """The ``count`` slots that end with ``last``."""
        first = max(self.newest - self._size + 1, 0) if self.newest >= 0 else last + 1
        return [
            None if not first <= slot <= self.newest or math.isnan(value := self._values[slot % self._size]) else value
            for slot in range(last - count + 1, last + 1)
        ]


@dataclass(slots=True)
class _Field:
    seconds: _Ring = field(default_factory=lambda: _Ring(SECONDS))
    minutes: _Ring = field(default_factory=lambda: _Ring(MINUTES))
    sum: float = 0.0
    count: int = 0


@dataclass(slots=True)
class _Track:
    second: int
    minute: int
    fields: dict[str, _Field] = field(default_factory=dict)


FIELD_BYTES = (SECONDS + MINUTES) * _VALUE_BYTES


class History:
    """Times are seconds of one monotonic clock. A field of a subject takes room from its first value on."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tracks: dict[Subject, _Track] = {}
        self.bytes = 0
        """Taken by the values now; at most what was allowed."""
        self._full_until = 0.0
        self.refused = 0
        """Times that a value found no room."""

    def record(self, subject: Subject, values: Mapping[str, float | None], now: float, lasted: int = 1) -> None:
        """Take in what was measured in this second, or holds for so many that end with it; None is a gap. A second time
        in one second replaces it."""
        second, minute = int(now), int(now) // 60
        track = self._tracks.get(subject)
        if track is None:
            self._tracks[subject] = track = _Track(-1, minute)
        if second < track.second:
            return
        if minute != track.minute:
            _close_minute(track)
            track.minute = minute
        track.second = second
        for name, value in values.items():
            part = track.fields.get(name)
            if part is None:
                if value is None:
                    continue
                if not self._make_room(now):
                    self.refused += 1
                    continue
                track.fields[name] = part = _Field()
                self.bytes += FIELD_BYTES
            seconds = part.seconds
            if value is None:
                seconds.put(second, _GAP, lasted)
                continue
            if seconds.newest != second:
                weight = min(lasted, second - seconds.newest)
                part.sum += value * weight
                part.count += weight
            seconds.put(second, value, lasted)
        if not track.fields:
            del self._tracks[subject]

    def subjects(self) -> tuple[Subject, ...]:
        return tuple(self._tracks)

    def seconds(self, subject: Subject, now: float, count: int = SECONDS) -> Curve:
        """The last ``count`` seconds, at most 600. KeyError for an unknown subject."""
        fields = self._tracks[subject].fields
        wanted = min(count, SECONDS)
        return Curve(1, {name: part.seconds.read(int(now), wanted) for name, part in fields.items()})

    def minutes(self, subject: Subject, now: float, count: int = MINUTES) -> Curve:
        """The last ``count`` whole minutes, at most 1440. KeyError for an unknown subject."""
        fields = self._tracks[subject].fields
        wanted = min(count, MINUTES)
        return Curve(60, {name: part.minutes.read(int(now) // 60 - 1, wanted) for name, part in fields.items()})

    def _make_room(self, now: float) -> bool:
        """For one more field: subjects without a value for ten minutes go, the longest silent first."""
        if now < self._full_until:
            return False
        while self.bytes + FIELD_BYTES > self._max_bytes:
            silent = min(self._tracks, key=lambda name: self._tracks[name].second)
            if now - self._tracks[silent].second < SECONDS:
                self._full_until = now + LOOK_AGAIN
                return False
            self.bytes -= len(self._tracks.pop(silent).fields) * FIELD_BYTES
        return True


def _close_minute(track: _Track) -> None:
    for part in track.fields.values():
        if part.count:
            part.minutes.put(track.minute, part.sum / part.count)
        part.sum, part.count = 0.0, 0


def shorten(values: list[float | None], points: int) -> list[float | None]:
    """Means of equal stretches, so that ``points`` of them are left; the newest stretch ends with the newest value."""
    if len(values) <= points:
        return values
    width = math.ceil(len(values) / points)
    first = len(values) % width
    stretches = [values[:first]] if first else []
    stretches += [values[start : start + width] for start in range(first, len(values), width)]
    return [_mean([value for value in stretch if value is not None]) for stretch in stretches]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
