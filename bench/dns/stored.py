"""Figures of the steering, kept beside the commands that measure them."""

from __future__ import annotations

import json
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = Path(__file__).with_name("steering.json")


def store(name: str, figures: dict[str, Any]) -> None:
    """Replaces the figures of this name; the others stay."""
    known: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[name] = {**figures, "machine": machine()}
    FILE.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    return sorted(values)[max(ceil(share * len(values)), 1) - 1]
