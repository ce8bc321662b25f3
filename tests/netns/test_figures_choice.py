"""Paths follow what is measured: a used one that gets worse is left, and used again when it has been good for long."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import pytest

from lab.impairment import Impairment
from tests.netns import labs, traffic
from tests.netns.busy import again_while_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, GATEWAY, OTHER_GATEWAY = "edge-fra-1", "gw-sto-1", "gw-mil-1"
BEST, OTHERS = {"mid-ams-1", "mid-par-1"}, {"mid-lon-1", "mid-par-1"}
HOLD = 4.0
"""Seconds: shorter than by default, for a short test."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    document = labs.demo("choice")
    # Single copies need not go through one of the two that are chosen for two copies.
    del document["applications"]["single"]
    document["health"] = {"hold": HOLD, "longest_hold": 2 * HOLD}
    with labs.running(document, tmp_path_factory.mktemp("choice")) as lab:
        yield lab


@pytest.fixture
def lab(running: RunningLab) -> Iterator[RunningLab]:
    """Left with perfect links and the costs it came with, also by a test that fails."""
    written = running.file.read_text()
    yield running
    for relay in BEST | OTHERS:
        for gateway in (GATEWAY, OTHER_GATEWAY):
            running.impair(relay, gateway, None)
    if running.file.read_text() != written:
        reload(running, written)


def reload(lab: RunningLab, text: str) -> None:
    lab.file.write_text(text)
    for node in lab.topology.nodes:
        lab.kill(node, signal.SIGHUP)


def settle(lab: RunningLab, gateway: str) -> None:
    """Returns when the edge uses the cheapest pair. The next one is nearly as cheap: if its intermediate answered
    first, it stays in use until it is worse for a moment."""
    if set(labs.relays(lab, EDGE, gateway)) != BEST:
        lab.impair("mid-lon-1", gateway, Impairment(delay_ms=100))
        wait(lab, EDGE, gateway, BEST, 30.0)
        lab.impair("mid-lon-1", gateway, None)
        # Good news is believed after the hold.
        time.sleep(3 * HOLD)
    wait(lab, EDGE, gateway, BEST, 30.0)


@dataclass(frozen=True, slots=True)
class Left:
    edge_after: float
    """Seconds until the edge took other paths, and then until the gateway did."""
    gateway_after: float
    echo: dict[str, int]
    why: str


def leave(lab: RunningLab, impairment: Impairment, port: int) -> Left:
    """Impairs a path that is used, under 1,000 packets/s, until both ends have left it."""
    to = traffic.endpoint(labs.vip(lab, "solo"), port)

    def once() -> Left:
        settle(lab, GATEWAY)
        with (
            traffic.serving(lab, "origin-2", "udp-echo", port),
            traffic.sending(lab, "client", to, rate=1000, seconds=8.0, size=200, echo=True) as sent,
        ):
            time.sleep(1.0)
            lab.impair("mid-ams-1", GATEWAY, impairment)
            edge = taken(lab, EDGE, GATEWAY, OTHERS, 10.0)
            gateway = taken(lab, GATEWAY, EDGE, OTHERS, 10.0)
            why = [item["why"] for item in lab.status(EDGE, "/paths")["choices"] if item["application"] == "solo"]
        lab.impair("mid-ams-1", GATEWAY, None)
        return Left(edge, gateway, sent.report["echo"], why[0])

    last = again_while_busy(
        lab,
        once,
        lambda left: left.echo["lost"] == 0 and max(left.edge_after, left.gateway_after) < inf,
        lambda left: left.echo["lost"],
    )[-1]
    assert max(last.edge_after, last.gateway_after) < inf, last
    return last


def test_a_used_path_that_takes_30_ms_more_is_left_and_taken_again_calmly(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    left = leave(lab, Impairment(delay_ms=30), 6021)
    again = wait(lab, EDGE, GATEWAY, BEST, 60.0)
    figure(
        "30 ms more on a used path",
        f"left after {left.edge_after:.1f} s (the way back {left.gateway_after:.1f} s later), used again {again:.1f} s "
        f"after the end (hold {HOLD:g} s), {left.echo['lost']} of {left.echo['sent']} lost; said: {left.why}",
    )
    assert (left.echo["lost"], left.echo["duplicated"]) == (0, 0)
    assert again >= HOLD - 1.0
    assert "not mid-ams" in left.why


def test_new_costs_in_the_file_move_paths_without_loss(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    settle(lab, GATEWAY)
    before = lab.file.read_text()
    dearer = before.replace("- gw-sto\n  - mid-ams\n  cost: 11\n", "- gw-sto\n  - mid-ams\n  cost: 31\n")
    assert dearer != before

    def move() -> dict[str, int]:
        to = traffic.endpoint(labs.vip(lab, "solo"), 6022)
        with (
            traffic.serving(lab, "origin-2", "udp-echo", 6022),
            traffic.sending(lab, "client", to, rate=10_000, seconds=5.0, size=200, echo=True) as sent,
        ):
            time.sleep(1.0)
            for text, expected in ((dearer, OTHERS), (before, BEST)):
                reload(lab, text)
                wait(lab, EDGE, GATEWAY, expected, 10.0)
        echo: dict[str, int] = sent.report["echo"]
        return echo

    echoes = again_while_busy(lab, move, lambda echo: echo["lost"] == 0, lambda echo: echo["lost"])
    figure(
        "SIGHUP with other costs, 10,000 packets/s both ways",
        "; then ".join(f"{echo['lost']} of {echo['sent']} lost" for echo in echoes),
    )
    assert (echoes[-1]["lost"], echoes[-1]["duplicated"]) == (0, 0)


def test_a_used_path_that_loses_10_percent_is_left(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    left = leave(lab, Impairment(loss=0.1, seed=5), 6023)
    figure(
        "10 % loss on a used path",
        f"left after {left.edge_after:.1f} s (the way back {left.gateway_after:.1f} s later), {left.echo['lost']} of "
        f"{left.echo['sent']} lost; said: {left.why}",
    )
    assert (left.echo["lost"], left.echo["duplicated"]) == (0, 0)
    assert "not mid-ams" in left.why


def test_of_paths_that_lose_together_only_one_is_used(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """Two links of a shared risk and an independent one, each with the same loss: only together they differ."""
    settle(lab, OTHER_GATEWAY)
    for relay in BEST:
        lab.impair(
            relay, OTHER_GATEWAY, Impairment(joint_seed=9, joint_loss=0.06, joint_slot_ms=50), direction="a-to-b"
        )
    lab.impair("mid-lon-1", OTHER_GATEWAY, Impairment(loss=0.06, seed=10), direction="a-to-b")
    began = time.monotonic()
    why = ""
    while time.monotonic() - began < 60.0 and "they lose together" not in why:
        time.sleep(0.5)
        (why,) = [
            each["why"]
            for each in lab.status(EDGE)["path_sets"]
            if (each["peer"], each["number"]) == (OTHER_GATEWAY, 2)
        ]
    after = time.monotonic() - began
    relays = labs.relays(lab, EDGE, OTHER_GATEWAY)
    figure(
        "shared risk, 6 % loss on each path", f"independent pair {', '.join(relays)} after {after:.0f} s; said: {why}"
    )
    assert "they lose together" in why
    assert "mid-lon-1" in relays


def wait(lab: RunningLab, source: str, destination: str, relays: set[str], timeout: float) -> float:
    """Seconds until the paths in use are those."""
    took = taken(lab, source, destination, relays, timeout)
    used = labs.relays(lab, source, destination)
    assert took < inf, f"{source} uses {sorted(used)} to {destination} after {timeout:g} s, not {sorted(relays)}"
    return took


def taken(lab: RunningLab, source: str, destination: str, relays: set[str], timeout: float) -> float:
    """The same; infinity if they are not within ``timeout``."""
    began = time.monotonic()
    while time.monotonic() - began < timeout:
        if set(labs.relays(lab, source, destination)) == relays:
            return time.monotonic() - began
        time.sleep(0.1)
    return inf
