"""The time that the data threads of this process have worked, from the kernel."""

from __future__ import annotations

import os
from pathlib import Path

THREAD = "braid-shard"
"""Their name, given by the data plane."""
_TASKS = Path("/proc/self/task")


def busy_seconds() -> tuple[float, ...]:
    """Processor seconds of each data thread, oldest thread first. Empty where the kernel does not tell."""
    ticks = os.sysconf("SC_CLK_TCK")
    found: list[float] = []
    try:
        tasks = sorted(int(entry.name) for entry in _TASKS.iterdir())
    except OSError:
        return ()
    for task in tasks:
        try:
            text = (_TASKS / str(task) / "stat").read_text()
        except OSError:
            continue
        head, _, rest = text.rpartition(")")
        if head.partition("(")[2] == THREAD:
            # proc(5): after the name come the state and ten numbers, then user and system time.
            fields = rest.split()
            found.append((int(fields[11]) + int(fields[12])) / ticks)
    return tuple(found)
