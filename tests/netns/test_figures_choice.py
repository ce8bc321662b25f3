"""Paths follow what is measured: a used one that gets worse is left, and used again when it has been good for long."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from lab.impairment import Impairment
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
BEST, OTHERS = {"mid-ams-1", "mid-par-1"}, {"mid-lon-1", "mid-par-1"}
HOLD = 4.0
"""Seconds: shorter than by default, for a short test."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    document = labs.demo("choice")
    document["health"] = {"hold": HOLD, "longest_hold": 2 * HOLD}
    with labs.running(document, tmp_path_factory.mktemp("choice")) as lab:
        yield lab


@pytest.mark.parametrize(
    ("words", "impairment"),
    [("30 ms more", Impairment(delay_ms=30)), ("10 % loss", Impairment(loss=0.1, seed=5))],
)
def test_a_used_path_that_gets_worse_is_left_and_taken_again_calmly(
    lab: RunningLab, words: str, impairment: Impairment, figure: Callable[[str, object], None]
) -> None:
    wait(lab, EDGE, GATEWAY, BEST, 60.0)
    with (
        traffic.serving(lab, "origin-2", "udp-echo", 6021),
        traffic.sending(lab, "client", traffic.endpoint(labs.vip(lab, "solo"), 6021), rate=1000, seconds=8.0, size=200,
                        echo=True) as sent,
    ):  # fmt: skip
        time.sleep(1.0)
        lab.impair("mid-ams-1", GATEWAY, impairment)
        left = wait(lab, EDGE, GATEWAY, OTHERS, 10.0)
        back = wait(lab, GATEWAY, EDGE, OTHERS, 10.0)
        why = [item["why"] for item in lab.status(EDGE, "/paths")["choices"] if item["application"] == "solo"]
    lab.impair("mid-ams-1", GATEWAY, None)
    again = wait(lab, EDGE, GATEWAY, BEST, 60.0)
    echo = sent.report["echo"]
    figure(
        f"{words} on a used path",
        f"left after {left:.1f} s (the way back {back:.1f} s later), used again {again:.1f} s after the end (hold "
        f"{HOLD:g} s), {echo['lost']} of {echo['sent']} lost; said: {why[0]}",
    )
    assert (echo["lost"], echo["duplicated"]) == (0, 0)
    assert again >= HOLD
    assert "not mid-ams" in why[0]


def test_new_costs_in_the_file_move_paths_without_loss(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    wait(lab, EDGE, GATEWAY, BEST, 60.0)
    before = lab.file.read_text()
    dearer = before.replace("- gw-sto\n  - mid-ams\n  cost: 11\n", "- gw-sto\n  - mid-ams\n  cost: 31\n")
    assert dearer != before
    with (
        traffic.serving(lab, "origin-2", "udp-echo", 6022),
        traffic.sending(lab, "client", traffic.endpoint(labs.vip(lab, "solo"), 6022), rate=10_000, seconds=5.0,
                        size=200, echo=True) as sent,
    ):  # fmt: skip
        time.sleep(1.0)
        for text, expected in ((dearer, OTHERS), (before, BEST)):
            lab.file.write_text(text)
            for node in lab.topology.nodes:
                lab.kill(node, signal.SIGHUP)
            wait(lab, EDGE, GATEWAY, expected, 5.0)
    echo = sent.report["echo"]
    figure("SIGHUP with other costs, 10,000 packets/s both ways", f"{echo['lost']} of {echo['sent']} lost")
    assert (echo["lost"], echo["duplicated"]) == (0, 0)


def wait(lab: RunningLab, source: str, destination: str, relays: set[str], timeout: float) -> float:
    """Seconds until the paths in use are those."""
    began = time.monotonic()
    while time.monotonic() - began < timeout:
        used = set(labs.relays(lab, source, destination))
        if used == relays:
            return time.monotonic() - began
        time.sleep(0.1)
    pytest.fail(f"{source} uses {sorted(used)} to {destination} after {timeout:g} s, not {sorted(relays)}")
