"""Clients with kept connections of HTTP (``tests.netns.kept``), none of which may fail."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from bench import drain as bench

if TYPE_CHECKING:
    from lab.running import RunningLab


class Kept:
    """Some idle, some busy. ``pooled``: an application whose servers are shared."""

    def __init__(self, lab: RunningLab, idle: int, busy: int, version: int = 4, application: str = "pooled") -> None:
        argv = [sys.executable, "-m", "tests.netns.kept", bench.vip(lab, application, version), str(idle), str(busy)]
        self._child = lab.popen(bench.CLIENT, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._idle = idle
        self._line()

    def ask(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        self._line()

    def end(self) -> None:
        self._child.communicate(timeout=20)
        assert self._child.returncode == 0

    def _line(self) -> None:
        assert self._child.stdout is not None
        idle, busy = json.loads(self._child.stdout.readline())
        assert idle == {"200": self._idle}, (idle, busy)
        assert set(busy) <= {"200"}, busy
