from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn

import pytest
import trio
import trio.testing

from braid.watchdog import EXIT_CODE, watch
from tests.braid.fake_core import Fabric, FakeCore


class GivenUp(Exception):
    pass


def give_up(problem: str) -> NoReturn:
    raise GivenUp(problem)


async def test_a_stuck_data_thread_is_noticed_within_two_seconds(autojump_clock: trio.testing.MockClock) -> None:
    core = FakeCore(Fabric(), 1)
    stuck_since = trio.current_time() + 5

    def last_turn() -> int:
        return max(0, int((trio.current_time() - stuck_since) * 1e9))

    core.last_turn = last_turn  # type: ignore[method-assign]
    with pytest.raises(GivenUp, match="has not turned"):
        await watch(core, give_up)
    assert trio.current_time() - stuck_since <= 2
    core.stop()


async def test_one_late_look_after_the_process_was_stopped_is_forgiven(autojump_clock: trio.testing.MockClock) -> None:
    core = FakeCore(Fabric(), 1)
    looks = iter([0, 200_000_000_000, 0, 0, 5_000_000_000, 0])
    core.last_turn = lambda: next(looks, 0)  # type: ignore[method-assign]
    with trio.move_on_after(20) as scope:
        await watch(core, give_up)
    assert scope.cancelled_caught
    core.stop()


def test_the_process_ends_at_once_with_its_own_exit_code() -> None:
    program = "import threading, time; from braid.watchdog import exit_at_once\n"
    program += "threading.Thread(target=time.sleep, args=(60,)).start(); exit_at_once('stuck')"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, timeout=20, capture_output=True, cwd=os.getcwd(), text=True
    )
    assert done.returncode == EXIT_CODE
    assert done.stdout.count("state S, ran 0.") == 1, "the thread that sleeps"
    assert "state R" in done.stdout, "the one that tells"
