"""What the machine loses, which has no CPU time for a lab when it is due, is not what Braid loses.

Each packet that the kernel drops because nobody read in time is counted by it. A figure that is not good is measured
again if there were such packets meanwhile, and only then; it must be good once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lab import link, netns
from tests.netns import traffic
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

TIMES = 3
Outcome = TypeVar("Outcome")


def dropped_by_kernels(lab: RunningLab) -> int:
    """Packets so far for which a TUN's queue, a UDP socket or the link emulator had no room."""
    total: int = sum(
        found[direction]["kernel_drops"]
        for found in link.all_counters(lab.plan).values()
        for direction in ("a_to_b", "b_to_a")
    )
    for name in lab.plan.members:
        total += _of_sockets(lab, name)
        node = lab.topology.nodes.get(name)
        if node is not None and node.role in (Role.EDGE, Role.GATEWAY) and lab.alive(name):
            total += traffic.sent_dropped(lab, name, "braid0")
    return total


def _of_sockets(lab: RunningLab, member: str) -> int:
    def read() -> int:
        four = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()]
        six = dict(line.split() for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines())
        names, values = (words for words in four if words[0] == "Udp:")
        return int(values[names.index("RcvbufErrors")]) + int(six["Udp6RcvbufErrors"])

    return netns.call_in(lab.namespace(member), read)


def again_while_busy(
    lab: RunningLab,
    measure: Callable[[], Outcome],
    good: Callable[[Outcome], bool],
    lost: Callable[[Outcome], int] = lambda _: 0,
) -> list[Outcome]:
    """What was measured, up to ``TIMES`` times, the last one good unless it is Braid's: the kernels dropped nothing, or
    less than was ``lost``."""
    outcomes = []
    for _ in range(TIMES):
        before = dropped_by_kernels(lab)
        outcomes.append(measure())
        if good(outcomes[-1]) or dropped_by_kernels(lab) - before < max(1, lost(outcomes[-1])):
            break
    return outcomes
