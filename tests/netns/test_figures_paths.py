"""What nodes measure of their links, beside what the link emulator does; what they say and do when a path goes bad."""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import pytest

from lab.impairment import Impairment
from tests.netns import labs, traffic
from tests.netns.test_figures_loss import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, OTHER_EDGE, GATEWAY = "edge-fra-1", "edge-nyc-1", "gw-sto-1"
SETTLE = 30.0
PATIENCE = 10.0
"""Seconds for which a cause is waited for."""


@dataclass(frozen=True, slots=True)
class Setting:
    edge: str
    intermediate: str
    there: Impairment
    back: Impairment

    @property
    def rtt_ms(self) -> float:
        return self.there.delay_ms + self.back.delay_ms


SETTINGS = (
    Setting(EDGE, "mid-ams-1", Impairment(delay_ms=50), Impairment(delay_ms=50)),
    Setting(EDGE, "mid-lon-1", Impairment(delay_ms=5, loss=0.02, seed=7), Impairment(delay_ms=60)),
    Setting(EDGE, "mid-par-1", Impairment(delay_ms=30, loss=0.2, seed=8), Impairment(delay_ms=30, loss=0.05, seed=9)),
    Setting(OTHER_EDGE, "mid-ams-1", Impairment(delay_ms=80, jitter_ms=10), Impairment(delay_ms=80)),
    Setting(OTHER_EDGE, "mid-lon-1", Impairment(delay_ms=70), Impairment(delay_ms=15, loss=0.5, seed=10)),
    Setting(OTHER_EDGE, "mid-par-1", Impairment(delay_ms=150, loss=0.1, seed=11), Impairment(delay_ms=5)),
)


def test_links_are_measured_as_the_emulator_sets_them(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """Six settings at once, for 30 s, on probes alone.

    Loss: what is measured must be what the emulator dropped, and what it dropped lie in the interval of its setting.
    """
    for each in SETTINGS:
        lab.impair(each.edge, each.intermediate, each.there, direction="a-to-b")
        lab.impair(each.edge, each.intermediate, each.back, direction="b-to-a")
    # What is smoothed has to forget the time before.
    time.sleep(5.0)
    before = [_observed(lab, each) for each in SETTINGS]
    trips: list[list[tuple[float, float]]] = [[] for _ in SETTINGS]
    for _ in range(15):
        # What is shown follows the last second: one look may meet a moment in which the machine was busy.
        time.sleep(SETTLE / 15)
        for each, seen_so_far in zip(SETTINGS, trips, strict=True):
            now = _observed(lab, each)[0]
            seen_so_far.append((now["rtt_ms"], now["jitter_ms"]))
    for each, looks, (earlier, dropped_earlier, aside_earlier) in zip(SETTINGS, trips, before, strict=True):
        seen, dropped, aside = _observed(lab, each)
        rtt, jitter = (median(values) for values in zip(*looks, strict=True))
        sent, lost = seen["reported"] - earlier["reported"], seen["lost"] - earlier["lost"]
        low, high = interval(sent, max(each.there.loss, 1e-9), 0.9999)
        figure(
            f"{each.edge} to {each.intermediate}: set {each.rtt_ms:g} ms, loss {100 * each.there.loss:g} %, "
            f"jitter {each.there.jitter_ms:g} ms",
            f"{rtt:.1f} ms, {lost} of {sent} lost (emulator dropped {dropped - dropped_earlier}), "
            f"jitter {jitter:.2f} ms",
        )
        assert rtt == pytest.approx(each.rtt_ms, rel=0.05)
        assert sent >= 8 * SETTLE
        assert low <= lost <= high
        # Losses at both ends of the time may be counted on one side only.
        unseen = dropped - dropped_earlier - lost
        assert unseen >= -4 - 0.05 * lost
        # Probes of size, and answers to about as many of the other end, are dropped too and are no loss.
        assert unseen <= 4 + 0.05 * lost + 3 * each.there.loss * (aside - aside_earlier)
        # Two values of a uniform distribution of this half width differ by two thirds of it on average; less where
        # several datagrams of one moment wait for the slowest of them, since the emulator keeps their order.
        assert jitter == pytest.approx(each.there.jitter_ms * 2 / 3, rel=0.4, abs=3.0)


def _observed(lab: RunningLab, each: Setting) -> tuple[dict[str, Any], int, float]:
    """What the edge measures of the link, what the emulator dropped there, about how many probes of size took it."""
    status = lab.status(each.edge)
    seen = next(item for item in status["neighbours"] if item["node"] == each.intermediate)
    aside = sum(path["mtu_probe_bytes"] for path in status["paths"] if path["route"][0] == each.intermediate) / 1280
    return seen, lab.counters(each.edge, each.intermediate)["a-to-b"]["lost_random"], aside


@pytest.mark.parametrize("fault", ["link cut", "cut one way", "node killed"])
def test_one_copy_goes_another_way_within_300_ms(
    lab: RunningLab, fault: str, figure: Callable[[str, object], None]
) -> None:
    """The best of up to three: on a machine that does something else for a moment, everything comes later."""
    gaps: list[float] = []
    while len(gaps) < 3 and min(gaps, default=1000.0) > 300.0:
        if gaps:
            labs.mend(lab)
        to = traffic.endpoint(labs.vip(lab, "single"), 6010)
        with (
            traffic.serving(lab, "origin-2", "udp-echo", 6010),
            traffic.sending(lab, "client", to, rate=1000, seconds=4.0, size=200, echo=True) as sent,
        ):
            relay = _carrier(lab)
            if fault == "node killed":
                lab.kill(relay, signal.SIGKILL)
            else:
                direction = "both" if fault == "link cut" else "a-to-b"
                lab.impair(relay, GATEWAY, Impairment(blackhole=True), direction=direction)
        echo = sent.report["echo"]
        assert echo["duplicated"] == 0
        assert echo["lost"] > 0, "the path that was cut carried nothing"
        gaps.append(echo["gap_ms_max"])
    told = ", ".join(f"{gap:.0f}" for gap in gaps)
    figure(f"copies: 1, {fault}, 1,000 packets/s", f"longest silence {told} ms, {echo['lost']} of {echo['sent']} lost")
    assert min(gaps) <= 1200.0, "300 ms on a machine that does nothing else"


@dataclass(frozen=True, slots=True)
class Fault:
    impairment: Impairment
    words: str
    """What the edge must say of it: a pattern."""
    direction: Literal["both", "a-to-b"] = "both"
    flaps: bool = False


LOSES = r"loses ([2-9]|[1-9]\d)(\.\d)? %"
"""At least 2 %: the word alone may be left from an earlier fault, since good news is held back for 30 s."""
# In this order no fault's words are left from the one before.
FAULTS = {
    "100 ms more": Fault(Impairment(delay_ms=100), r"\d{2}(\.\d+)? ms instead of \d"),
    "20 % loss": Fault(Impairment(loss=0.2, seed=3), LOSES),
    "link cut": Fault(Impairment(blackhole=True), "hears nothing on this path"),
    "cut one way": Fault(Impairment(blackhole=True), "it does not hear us|hears nothing on this path", "a-to-b"),
    "flapping at 1 Hz": Fault(Impairment(blackhole=True), f"was interrupted|{LOSES}", flaps=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_two_copies_lose_nothing_and_the_cause_is_told(
    lab: RunningLab, name: str, figure: Callable[[str, object], None]
) -> None:
    """What a machine loses before packets enter Braid (the queue of the edge's TUN, the sockets of the ends) is not
    Braid's: then it is measured again, up to three times."""
    fault = FAULTS[name]
    relay = labs.pair(lab, EDGE, GATEWAY)[0]
    to = traffic.endpoint(labs.vip(lab, "solo"), 6011)
    told = []
    for _ in range(3):
        labs.mend(lab)
        with (
            traffic.serving(lab, "origin-2", "udp-echo", 6011),
            traffic.sending(lab, "client", to, rate=10_000, seconds=5.0, size=200, echo=True) as sent,
        ):
            time.sleep(1.0)
            began = time.monotonic()
            lab.impair(relay, GATEWAY, fault.impairment, direction=fault.direction)
            with flapping(lab, relay, fault.impairment) if fault.flaps else nullcontext():
                after, words = _cause(lab, relay, fault.words, began)
        echo = sent.report["echo"]
        told.append(f"{echo['lost']} of {echo['sent']} lost, told after {after:.1f} s: {words}")
        assert echo["duplicated"] == 0
        if echo["lost"] == 0 and after <= 2.0:
            break
    figure(f"2 copies, {name}, 10,000 packets/s both ways", "; then ".join(told))
    # Two seconds are what it is for, on a machine that does nothing else.
    assert (echo["lost"], after < PATIENCE) == (0, True), told


@contextmanager
def flapping(lab: RunningLab, relay: str, impairment: Impairment) -> Iterator[None]:
    """The link of a relay to the gateway is mended and broken again each half second, six times at least."""
    enough = threading.Event()

    def flap() -> None:
        turn = 0
        while turn < 6 or not enough.is_set():
            time.sleep(0.5)
            lab.impair(relay, GATEWAY, None if turn % 2 == 0 else impairment)
            turn += 1

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_a_path_that_becomes_100_ms_shorter_loses_nothing(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    """Its copies overtake those before them; that is no loss, and is not said to be one."""
    to = traffic.endpoint(labs.vip(lab, "solo"), 6012)
    relay = min(labs.pair(lab, EDGE, GATEWAY), key=lambda each: _loss(lab, each))
    # The others first, and more: else one of them would be taken, if only because its old troubles are forgiven now.
    for each in {"mid-ams-1", "mid-lon-1", "mid-par-1"} - {relay}:
        lab.impair(each, GATEWAY, Impairment(delay_ms=150))
    time.sleep(2.0)
    lab.impair(relay, GATEWAY, Impairment(delay_ms=100))
    time.sleep(3.0)
    with (
        traffic.serving(lab, "origin-2", "udp-echo", 6012),
        traffic.sending(lab, "client", to, rate=10_000, seconds=4.0, size=200, echo=True) as sent,
    ):
        time.sleep(1.0)
        before = _loss(lab, relay)
        lab.impair(relay, GATEWAY, None)
        most = 0.0
        for _ in range(20):
            time.sleep(0.1)
            most = max(most, _loss(lab, relay))
        assert relay in labs.pair(lab, EDGE, GATEWAY)
    echo = sent.report["echo"]
    figure("a path 100 ms shorter, 10,000 packets/s", f"loss told {most:.3%}, before {before:.3%}, {echo['lost']} lost")
    assert most <= before + 0.002
    assert (echo["lost"], echo["duplicated"]) == (0, 0)


def _loss(lab: RunningLab, relay: str) -> float:
    paths = [path for path in lab.status(EDGE)["paths"] if path["peer"] == GATEWAY and relay in path["route"]]
    return max(path["loss"] or 0.0 for path in paths)


def _cause(lab: RunningLab, relay: str, pattern: str, began: float) -> tuple[float, str]:
    """Seconds until the edge says what is wrong with a path through ``relay``, and its words."""
    words = "nothing"
    while time.monotonic() < began + PATIENCE:
        for path in lab.status(EDGE)["paths"]:
            if path["peer"] == GATEWAY and relay in path["route"]:
                words = "; ".join(filter(None, (path["trouble"], "" if path["up"] else path["detail"])))
                if re.search(pattern, words):
                    return time.monotonic() - began, words
        time.sleep(0.1)
    return PATIENCE, words


def _carrier(lab: RunningLab) -> str:
    """The intermediate that carries a single copy from the edge to the gateway, while there is traffic."""
    sent: list[dict[str, int]] = []
    for _ in range(2):
        time.sleep(0.5)
        paths = lab.status(EDGE)["paths"]
        sent.append({path["route"][0]: path["copies_sent"] for path in paths if path["peer"] == GATEWAY})
    before, after = sent
    return max(after, key=lambda relay: after[relay] - before.get(relay, 0))
