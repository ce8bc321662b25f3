"""Settings of this process: what keeps its keys to itself, how many sockets it may have, when it looks for garbage."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
YOUNG = 10_000
"""New objects after which the collector looks at them."""


def protect_memory() -> None:
    """No core dumps, no ptrace by other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_with_parent() -> None:
    """Be killed when the process that started this one has ended, and end now if it has."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def allow_descriptors() -> int:
    """As many open files as the system lets this process have; how many that are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def collect_later() -> None:
    """The collector looks at nothing before ``keep_what_is_there``: of what comes with the modules nearly all stays,
    and to look through it again and again took a seventh of a node's start."""
    gc.disable()


def keep_what_is_there() -> None:
    """The collector leaves alone what a started node has: modules and topology, which stay. To look through them takes
    tens of milliseconds, in which nobody's packets are decided about."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def give_way() -> None:
    """What was said just now is for a data thread to send. It has woken us, most likely on its own processor, and would
    wait until we sleep; what we have yet to do has time."""
    os.sched_yield()
