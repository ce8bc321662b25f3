"""CPUs that never halt while something is measured, to tell what waking up a virtual CPU costs from all the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def awake() -> Iterator[None]:
    """One spinning process per CPU, each with ``SCHED_IDLE``: it takes only time that nobody else wants (sched(7)).

    The median shows what is left without halting. The 99th percentile does not: a spinner that runs is one more
    process to be taken off the CPU first.
    """
    spin = "import os; os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    spinners = [subprocess.Popen([sys.executable, "-c", spin]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for each in spinners:
            each.kill()
        for each in spinners:
            each.wait()
