"""When a worker that has died is followed by the next one. Pure."""

from __future__ import annotations

AT_ONCE = 5
"""Deaths that are followed at once; one more is allowed each ``EACH`` seconds."""
EACH = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


class Restarts:
    def __init__(self) -> None:
        self._left = float(AT_ONCE)
        self._at: float | None = None
        self._pause = FIRST_PAUSE

    def died(self, now: float) -> float:
        """Seconds to wait. They grow as long as deaths come faster than is allowed."""
        if self._at is not None:
            self._left = min(AT_ONCE, self._left + (now - self._at) / EACH)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            self._pause = FIRST_PAUSE
            return 0.0
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        return pause
