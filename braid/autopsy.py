"""What the threads of this process do, from the kernel, for whoever has to find out why one of them stands still."""

from __future__ import annotations

import os
import time

from braid.threads import TASKS

LOOK_FOR = 0.2
"""Seconds between two looks: one that runs, one that waits for a processor and one that sleeps differ by them."""
MOST_THREADS, MOST_CALLS = 16, 12


def threads() -> dict[str, str]:
    """By name and number: state as in proc(5), seconds that it ran and that it waited for a processor, and where in the
    kernel it is, the innermost call first. Takes ``LOOK_FOR``. What the kernel does not tell, or not to this user, is
    left out."""
    numbers = _numbers()
    before = {number: _times(number) for number in numbers}
    time.sleep(LOOK_FOR)
    return {f"{_name(number)}/{number}": _told(number, before[number], _times(number)) for number in numbers}


def _told(number: str, before: tuple[float, float], now: tuple[float, float]) -> str:
    _, _, rest = _read(number, "stat").rpartition(")")
    (ran, waited), faults = now, _major_faults(rest)
    said = [
        f"state {rest[1:2] or '?'}",
        f"ran {ran:.2f} s, {ran - before[0]:.2f} of the last {LOOK_FOR}",
        f"waited {waited:.2f} s, {waited - before[1]:.2f} of the last {LOOK_FOR}",
        f"{faults} major faults",
    ]
    calls = [line.split(" ", 1)[-1].partition("+")[0] for line in _read(number, "stack").splitlines()]
    calls = calls or [_read(number, "wchan")]
    return ", ".join([*said, "in " + " < ".join(calls[:MOST_CALLS])] if any(calls) else said)


def _numbers() -> list[str]:
    try:
        return sorted(os.listdir(TASKS), key=int)[:MOST_THREADS]
    except OSError:
        return []


def _name(number: str) -> str:
    return _read(number, "comm").strip() or "?"


def _times(number: str) -> tuple[float, float]:
    """Seconds on a processor, and waiting for one."""
    words = _read(number, "schedstat").split()
    return (int(words[0]) / 1e9, int(words[1]) / 1e9) if len(words) == 3 else (0.0, 0.0)


def _major_faults(stat: str) -> int:
    """From what follows the name in ``stat``."""
    fields = stat.split()
    return int(fields[9]) if len(fields) > 9 else 0


def _read(number: str, what: str) -> str:
    """Unbuffered, as whoever asks may be short of everything."""
    try:
        with open(f"{TASKS}/{number}/{what}", "rb", buffering=0) as file:
            return file.read().decode("ascii", "replace")
    except OSError:
        return ""
