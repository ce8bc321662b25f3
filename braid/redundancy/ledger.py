"""What redundancy cost an application and what it brought: copies, repaired losses, really lost packets, budget."""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86_400.0
FIRST_SHARE = 0.5
"""Of a day's budget that is there from the beginning."""
SCARCE = 0.25
"""Share of a day's budget below which trouble gets three copies at most."""
RECOVERED = 0.05
"""Share of a day's budget that must be there again before more than the fewest copies are sent."""


@dataclass(slots=True)
class Ledger:
    packets: int = 0
    copies: int = 0
    """Sent, the first one of each packet included."""
    bytes_of_copies: int = 0
    """Of all but the first of each packet."""
    settled: int = 0
    """Packets of which it is known what came: those that ``repaired`` and ``all_lost`` are a part of."""
    repaired: int = 0
    """Packets of which a copy was lost and another arrived."""
    all_lost: int = 0
    surges: int = 0
    surge_seconds: float = 0.0
    longest_surge: float = 0.0

    def add_sent(self, packets: int, copies: int, bytes_of_copies: int) -> None:
        self.packets += packets
        self.copies += copies
        self.bytes_of_copies += bytes_of_copies

    def add_settled(self, packets: int, repaired: int, all_lost: int) -> None:
        self.settled += packets
        self.repaired += repaired
        self.all_lost += all_lost

    @property
    def mean_copies(self) -> float:
        return self.copies / self.packets if self.packets else 0.0

    @property
    def bytes_per_repair(self) -> float | None:
        """None while nothing was repaired."""
        return self.bytes_of_copies / self.repaired if self.repaired else None


class Budget:
    """Copy-seconds beyond ``min_copies`` that may still be spent: refilled evenly, never above a day's worth."""

    def __init__(self, min_copies: int, factor: float) -> None:
        self._rate = min_copies * (factor - 1)
        self._day = self._rate * DAY
        self.left = self._day * FIRST_SHARE
        self._spent = self.left <= 0

    def spend(self, extra_copies: float, seconds: float) -> None:
        self.left = min(self._day, self.left + (self._rate - extra_copies) * seconds)
        if self.left <= 0:
            self._spent = True
        elif self.left >= self._day * RECOVERED:
            self._spent = False

    def limit(self, min_copies: int, max_copies: int) -> int:
        """Copies that may be sent in trouble now."""
        if self._spent:
            return min_copies
        return max(min_copies, min(max_copies, 3)) if self.left < self._day * SCARCE else max_copies
