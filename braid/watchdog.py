"""Ends the process when its data thread has died or is stuck: nothing is worse than a node that only looks alive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import structlog

from braid import autopsy
from braid.beat import beat

if TYPE_CHECKING:
    from collections.abc import Callable

    from braid.core import CoreApi

EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: a supervisor should restart the node and keep the log."""
LOOK_EVERY = 0.5
LIMIT = 1.0
"""Seconds without a turn. The data thread turns at least every 0.25 s; with two looks a stop is noticed within 2 s."""

log = structlog.get_logger("braid.watchdog")


class DataPlaneFailed(Exception):
    """The data thread ended with this message."""


async def watch(core: CoreApi, give_up: Callable[[str], NoReturn]) -> NoReturn:
    """Call ``give_up`` once two looks in a row find the data thread stuck.

    One look is not enough: a process that was stopped and continued sees an old turn before the thread has run again.
    """
    late = 0
    while True:
        await beat(LOOK_EVERY)
        late = late + 1 if core.last_turn() > LIMIT * 1e9 else 0
        if late >= 2:
            give_up(f"the data thread has not turned for {core.last_turn() / 1e9:.1f} s")


def exit_at_once(problem: str) -> NoReturn:
    """Log, with what every thread does, and end the process without any cleanup that could wait for the data thread."""
    log.critical("data plane failed", problem=problem, exit_code=EXIT_CODE, threads=autopsy.threads())
    os._exit(EXIT_CODE)
