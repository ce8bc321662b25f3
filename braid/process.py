"""Settings of this process that keep its keys to itself."""

from __future__ import annotations

import ctypes
import resource

PR_SET_DUMPABLE = 4


def protect_memory() -> None:
    """No core dumps, no ptrace by other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
