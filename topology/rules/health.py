"""Thresholds of health: what is good again must be better than what is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topology.shape import Draft

_ORDERED = (
    ("loss_good", "loss_bad"),
    ("delay_good", "delay_bad"),
    ("delay_good_ms", "delay_bad_ms"),
    ("hold", "longest_hold"),
)


def check(draft: Draft) -> None:
    if draft.is_broken("health"):
        return
    written = draft.document.health
    for low, high in _ORDERED:
        least, most = getattr(written, low), getattr(written, high)
        if least > most:
            draft.report.add(("health", low), f"{least:g} is more than {high}, {most:g}", f"write at most {most:g}")
