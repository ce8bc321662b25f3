"""What the demo says, and whether all of it went well."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stage:
    """Prints what happens and remembers whether all of it went well."""

    began: float = field(default_factory=time.monotonic)
    failures: int = 0

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {line}", flush=True)

    def step(self, title: str) -> None:
        print(f"\n== {title}", flush=True)

    def judge(self, passed: bool, line: str) -> None:
        self.failures += not passed
        self.say(f"{'PASS' if passed else 'FAIL'}  {line}")
