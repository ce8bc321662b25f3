"""What a gateway shows of drains: its own, and that of a sibling whose flows it takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DrainStatus:
    state: str = "home"
    """``home``; ``copying``, ``leaving``, ``following``: on the way to the sibling; ``away``: all that can go is there;
    ``returning``, ``returned``: on the way back."""
    to: str = ""
    """The sibling."""
    by: str = ""
    """Who ordered it: ``braid drain``, or a place in the topology file."""
    flows: int = 0
    """That the other side has taken."""
    refused: int = 0
    again: int = 0
    """Pieces of flows that the sibling was told once more, for want of an answer."""
    opening: int = 0
    """Connections here that were being opened at the last look."""
    stay: int = 0
    """Connections here that a TCP stack has."""
    stay_why: Mapping[str, int] = field(default_factory=dict)
    """The same, and those of applications whose connections do not move, by the reason."""
    seconds: float = 0.0
    """Since the drain, or the way back, began."""
    problem: str = ""
    host_of: str = ""
    """The gateway whose flows this one has."""
    host_phase: str = ""
    hosted: int = 0
    """Flows that were taken over from it."""
    hosted_refused: int = 0
    why: str = ""
    """Of the last flow that was refused here."""
