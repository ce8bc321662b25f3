"""What the commands of ``braid lab`` do; ``lab.cli`` gives them their words."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lab import link
from lab.impairment import parse
from lab.up import attach, down, up

if TYPE_CHECKING:
    from lab.running import RunningLab

Say = Callable[[str], None]


def lab_up(file: str, *, nodes: bool, direct: bool, say: Say) -> None:
    lab = up(file, nodes=nodes, direct=direct, progress=say)
    say(f"the lab {lab.name!r} is up; `braid lab down {lab.name}` removes it")


def lab_down(file_or_name: str, say: Say) -> None:
    say("removed" if down(file_or_name) else "there was nothing to remove")


def lab_exec(file_or_name: str, member: str, argv: Sequence[str]) -> None:
    """Replaces this process by the command."""
    words = attach(file_or_name).argv(member, argv)
    os.execvp(words[0], words)


def lab_impair(file_or_name: str, a: str, b: str, direction: link.Direction, words: Sequence[str]) -> None:
    wanted = parse(words)
    attach(file_or_name).impair(a, b, wanted, direction=direction)


def lab_links(file_or_name: str) -> list[dict[str, Any]]:
    """One entry per direction of each link: from, to, impaired, impairment, counters (0 when never impaired)."""
    lab = attach(file_or_name)
    known = link.all_counters(lab.plan)
    return [
        entry for each in lab.plan.links for entry in _directions(lab, each.name, each.a.member, each.b.member, known)
    ]


def _directions(lab: RunningLab, name: str, a: str, b: str, known: dict[str, Any]) -> list[dict[str, Any]]:
    found = known.get(name, {})
    entries = []
    for source, destination, key in ((a, b, "a_to_b"), (b, a, "b_to_a")):
        setting = found.get(f"{key}_impairment")
        counters = found.get(key) or dict.fromkeys(link.COUNTERS, 0)
        entries.append(
            {
                "from": source,
                "to": destination,
                "impaired": bool(found.get("attached")),
                "impairment": setting,
                "counters": counters,
            }
        )
    return entries
