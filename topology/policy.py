"""What an application asks for: a fixed number of copies, or a target for the share of packets that are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PATHS = 8
"""Paths that a set may have."""
MOST_STEADY = 4
"""Copies outside of trouble."""
MOST_IN_TROUBLE = 5
"""Copies in trouble, where nothing else is asked for. Each one more costs a third more and, where a whole site is in
trouble, closes another 0.15 % of the gap to sending on all paths (``bench.redundancy``)."""
LEAST_TARGET = 1e-6
"""Below that no realistic number of packets proves anything."""
MOST_SPREAD = 40
"""Milliseconds; less than a receiver waits, beyond what the paths differ in delay, until it calls a copy lost."""

_TARGET_KEYS = {"target_loss", "min_copies", "max_copies", "budget", "deadline", "spread", "diverse"}
POLICY_KEYS = ("copies", *sorted(_TARGET_KEYS))


@dataclass(frozen=True, slots=True)
class FixedCopies:
    """Exactly so many disjoint paths, always: nothing is estimated, the cost is predictable."""

    copies: int = 2


@dataclass(frozen=True, slots=True)
class TargetLoss:
    """The cheapest set of paths whose joint loss is at most ``target``.

    A statement about the present, known state: outside the time it takes to react, the 95 % upper bound of the
    probability that all copies of a packet are lost. No promise about what is not yet known.
    """

    target: float
    min_copies: int = 2
    """Also in quiet times: with 2, the loss of one path, node or region loses no packet."""
    max_copies: int = MOST_IN_TROUBLE
    """In trouble."""
    budget: float = 1.05
    """Mean copies over 24 hours, as a multiple of ``min_copies``."""
    deadline: float | None = None
    """Seconds, one way: a path that is later at its 99th percentile counts as lost."""
    spread: float = 0.0
    """Seconds by which all copies but the first are sent later, against losses that all paths have in common."""
    diverse: bool = False
    """The operator vouches that paths declared disjoint are; else verdicts do not rely on it."""


Policy = FixedCopies | TargetLoss


def copies_wanted(policy: Policy) -> int:
    """Paths that packets take when nothing is wrong."""
    return policy.copies if isinstance(policy, FixedCopies) else policy.min_copies


def paths_wanted(policy: Policy) -> int:
    """Paths that packets take at most."""
    return policy.copies if isinstance(policy, FixedCopies) else policy.max_copies


class PolicyError(ValueError):
    """Names the key, what is wrong with it, and the remedy."""

    def __init__(self, key: str, message: str, remedy: str) -> None:
        super().__init__(f"{key}: {message}; {remedy}")
        self.key, self.message, self.remedy = key, message, remedy


def in_words(policy: Policy) -> str:
    """``2 copies``, ``loss at most 1e-04, 2 to 5 copies``, with what is not the default."""
    if isinstance(policy, FixedCopies):
        return f"{policy.copies} {'copy' if policy.copies == 1 else 'copies'}"
    words = [f"loss at most {policy.target:.2g}", f"{policy.min_copies} to {policy.max_copies} copies"]
    words.append(f"at most {policy.budget * policy.min_copies:.3g} in the mean of a day")
    if policy.deadline is not None:
        words.append(f"within {1000 * policy.deadline:g} ms")
    if policy.spread:
        words.append(f"further copies {1000 * policy.spread:g} ms later")
    if policy.diverse:
        words.append("vouched for as diverse")
    return ", ".join(words)


def read_policy(mapping: Mapping[str, Any]) -> Policy:
    """From ``copies:`` or ``target_loss:`` with the keys beside it; durations in milliseconds. ``PolicyError``."""
    known = {"copies"} if "copies" in mapping else _TARGET_KEYS
    for key in mapping:
        if key == "target_loss" and "copies" in mapping:
            raise PolicyError(key, "excludes copies", "keep one of the two")
        if key not in known:
            raise PolicyError(key, "unknown key", f"known here: {', '.join(sorted(known))}")
    if "copies" in mapping:
        return FixedCopies(_whole(mapping, "copies", 2, 1, MOST_STEADY))
    if "target_loss" not in mapping:
        raise PolicyError("target_loss", "missing", "write copies: 2 or target_loss: 1e-4")
    low = _whole(mapping, "min_copies", 2, 1, MOST_STEADY)
    deadline = _number(mapping, "deadline", 0.0, 1.0, 60_000) if "deadline" in mapping else 0.0
    return TargetLoss(
        target=_number(mapping, "target_loss", 0.0, LEAST_TARGET, 0.1),
        min_copies=low,
        max_copies=_whole(mapping, "max_copies", max(low, MOST_IN_TROUBLE), low, MOST_PATHS),
        budget=_number(mapping, "budget", 1.05, 1.0, MOST_PATHS),
        deadline=deadline / 1000 or None,
        spread=_number(mapping, "spread", 0.0, 0.0, MOST_SPREAD) / 1000,
        diverse=_flag(mapping, "diverse"),
    )


def _whole(mapping: Mapping[str, Any], key: str, default: int, low: int, high: int) -> int:
    value = mapping.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise PolicyError(key, f"{value!r:.40} is out of range", f"write a whole number from {low} to {high}")
    return value


def _number(mapping: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = mapping.get(key, default)
    if type(value) not in (int, float) or not low <= value <= high:
        raise PolicyError(key, f"{value!r:.40} is out of range", f"write a number from {low:g} to {high:g}")
    return float(value)


def _flag(mapping: Mapping[str, Any], key: str) -> bool:
    value = mapping.get(key, False)
    if type(value) is not bool:
        raise PolicyError(key, f"{value!r:.40} is not accepted", "write true or false")
    return value
