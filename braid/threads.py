"""The time that the data threads of this process have worked, from the kernel."""

from __future__ import annotations

import os
from pathlib import Path

THREAD = "braid-shard"
"""Their name, given by the data plane."""
TASKS = Path("/proc/self/task")
_known: tuple[int, list[int]] = (0, [])
"""How many threads there were, and which of them are data threads: threads are looked for only when their number is
another one."""


def busy_seconds() -> tuple[float, ...]:
    """Processor seconds of each data thread, oldest thread first. Empty where the kernel does not tell."""
    global _known
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        count = os.stat(TASKS).st_nlink
        tasks = _known[1] if count == _known[0] else []
        tasks = tasks or sorted(int(name) for name in os.listdir(TASKS))
    except OSError:
        return ()
    found = {task: seconds for task in tasks if (seconds := _seconds(task, ticks)) is not None}
    _known = (count, list(found))
    return tuple(found.values())


def _seconds(task: int, ticks: int) -> float | None:
    """None: it is no data thread, or has ended."""
    try:
        with open(f"{TASKS}/{task}/stat", "rb", buffering=0) as file:
            head, _, rest = file.read().rpartition(b")")
    except OSError:
        return None
    if head.partition(b"(")[2] != THREAD.encode():
        return None
    # proc(5): after the name come the state and ten numbers, then user and system time.
    fields = rest.split()
    return (int(fields[11]) + int(fields[12])) / ticks
