"""Settings of this process: what keeps its keys to itself, and how many sockets it may have."""

from __future__ import annotations

import ctypes
import resource

PR_SET_DUMPABLE = 4


def protect_memory() -> None:
    """No core dumps, no ptrace by other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def allow_descriptors() -> int:
    """As many open files as the system lets this process have; how many that are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
