"""One bulk TCP flow over two copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

GOAL = 1.0
"""Gbit/s."""
SECONDS, ATTEMPTS = 3.0, 3


@pytest.mark.parametrize(
    ("direction", "server", "client"), [("up", "tcp-sink", "tcp-send"), ("down", "tcp-source", "tcp-recv")]
)
def test_one_tcp_flow_reaches_a_gigabit(
    lab: RunningLab, direction: str, server: traffic.Server, client: str, figure: Callable[[str, object], None]
) -> None:
    """The best of up to three: a machine that does something else meanwhile says nothing about Braid."""
    to = traffic.endpoint(labs.vip(lab, "lab"), 5001)
    rates: list[float] = []
    with traffic.serving(lab, "origin-1", server, 5001) as far:
        while len(rates) < ATTEMPTS and max(rates, default=0.0) < GOAL:
            near = traffic.run_generator(lab, "client", client, to, seconds=SECONDS)
            other = traffic.line_of(far)
            receiver = other if direction == "up" else near
            rates.append(receiver["gigabits_per_second"])
    runs = ", ".join(f"{rate:.2f}" for rate in rates)
    figure(f"one TCP flow {direction}, 2 copies, client to origin", f"{runs} Gbit/s in {SECONDS:g} s")
    assert max(rates) >= GOAL
