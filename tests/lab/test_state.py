"""What is remembered of a lab, and that only its own processes are ended."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lab import state
from lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

LAB = state.State("x", "/tmp/x.yaml", False, ("x-a", "x-hub"))
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(state, "ROOT", tmp_path / "labs")
    return tmp_path / "labs"


def test_a_claim_is_exclusive_and_can_be_read_back(root: Path) -> None:
    place = state.claim(LAB)
    assert place == root / "x"
    assert place.stat().st_mode & 0o777 == 0o700
    assert state.read("x") == LAB
    assert state.names() == ("x",)
    with pytest.raises(LabError, match="braid lab down x"):
        state.claim(LAB)
    state.forget("x")
    state.forget("x")
    assert state.read("x") is None
    state.claim(LAB)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"name": "x"}'])
def test_damaged_state_is_none(root: Path, damage: str) -> None:
    (root / "x").mkdir(parents=True)
    (root / "x" / "state.json").write_text(damage)
    assert state.read("x") is None


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "-x"])
def test_names_cannot_leave_the_directory(name: str) -> None:
    with pytest.raises(LabError):
        state.directory(name)


def test_its_processes_are_ended_and_no_other_one() -> None:
    state.claim(LAB)
    with subprocess.Popen(SLEEP) as own, subprocess.Popen(SLEEP) as foreign:
        state.record("x", "own", own.pid)
        # The number of a process that ended long ago and now belongs to somebody else.
        start = state.start_time(foreign.pid)
        assert start is not None
        with (state.directory("x") / "processes.jsonl").open("a") as file:
            file.write(f'{{"name": "reused", "pid": {foreign.pid}, "start": {start - 1}}}\n{{"name": "half')
        assert [process.name for process in state.processes("x")] == ["own"]
        state.end_processes("x")
        assert own.wait(timeout=5) != 0
        assert foreign.poll() is None
        assert state.processes("x") == ()
        foreign.kill()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    state.claim(LAB)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        state.record("x", "stubborn", process.pid)
        state.end_processes("x", patience=0.2)
        assert process.wait(timeout=5) == -9
