"""Rows of the routing table that drain a gateway: its connections are at another one as long as the row holds. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class DrainRow:
    gateway: str
    to: str
    """Of the same region."""
    routed: bool = False
    """The SNAT pools need not be on a link of ``to``: the network leads them there."""
    until: float | None = None
    """Unix seconds from which on the gateway has its connections back."""
    position: int = field(default=0, compare=False)
    """In the file's list."""

    @property
    def place(self) -> str:
        return f"transfers[{self.position}]"


@dataclass(frozen=True, slots=True)
class Clash:
    """Why a drain cannot be beside those before it."""

    index: int
    word: str
    message: str
    remedy: str


def clashes(drains: Sequence[tuple[str, str]]) -> Iterator[Clash]:
    """Of drained gateways and those that their connections go to, at most one for each."""
    for index, (gateway, to) in enumerate(drains):
        before = drains[:index]
        gone, taken = dict(before), {other: name for name, other in before}
        if gateway == to:
            yield Clash(index, "to", f"{gateway} is drained to itself", "name another gateway of its region")
        elif gateway in gone:
            yield Clash(index, "gateway", f"{gateway} is drained to {gone[gateway]} already", "keep one of the two")
        elif to in gone:
            remedy = "name a gateway that is not drained, or keep one of the two"
            yield Clash(index, "to", f"{to} is drained itself, to {gone[to]}", remedy)
        elif gateway in taken:
            remedy = "drain one that takes no connections, or keep one of the two"
            yield Clash(index, "gateway", f"{gateway} gets the connections of {taken[gateway]}", remedy)
        elif to in taken:
            remedy = "name another gateway: each takes the connections of one at a time"
            yield Clash(index, "to", f"{to} gets the connections of {taken[to]} already", remedy)
