"""What is lost, repeated or late when paths lose packets, end, or differ in length."""

from __future__ import annotations

import time
from math import exp, lgamma, log, log1p
from typing import TYPE_CHECKING, Any

import pytest

from lab.impairment import Impairment
from tests.netns import labs, traffic
from tests.netns.busy import again_while_busy
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
SECONDS, KILL_AT, RESTART_AT = 30.0, 10.0, 20.0


def test_no_packet_is_lost_when_an_intermediate_dies(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    relay = labs.pair(lab, EDGE, GATEWAY)[0]
    to = traffic.endpoint(labs.vip(lab, "solo"), 6001)
    rates = []

    def die() -> dict[str, Any]:
        with traffic.serving(lab, "origin-2", "udp-echo", 6001):
            began = time.monotonic()
            with traffic.sending(lab, "client", to, rate=10_000, seconds=SECONDS, size=300, echo=True) as sent:
                time.sleep(began + KILL_AT - time.monotonic())
                lab.kill(relay)
                time.sleep(began + RESTART_AT - time.monotonic())
                lab.start(relay)
        assert lab.ready(relay)
        rates.append(sent.report["packets_per_second"])
        echo: dict[str, Any] = sent.report["echo"]
        return echo

    echoes = again_while_busy(
        lab, die, lambda echo: echo["lost"] == echo["reordered"] == 0, lambda echo: int(echo["lost"])
    )
    echo = echoes[-1]
    figure(
        f"UDP 10,000/s both ways for {SECONDS:g} s, {relay} killed at {KILL_AT:g} s, restarted at {RESTART_AT:g} s",
        f"{'; then '.join(map(summary, echoes))} (longest silence {echo['gap_ms_max']:.0f} ms)",
    )
    assert rates[-1] == pytest.approx(10_000, rel=0.02)
    assert echo["sent"] == pytest.approx(10_000 * SECONDS, rel=0.02), "known by what came back"
    assert (echo["lost"], echo["duplicated"], echo["reordered"]) == (0, 0, 0)


@pytest.mark.parametrize("percent", [1, 5, 10])
def test_residual_loss_of_two_lossy_paths_is_the_product(
    lab: RunningLab, percent: int, figure: Callable[[str, object], None]
) -> None:
    """One run in 20 of a perfect system lies outside a 95 % interval: then it is measured again, and no run may lie
    outside the 99.99 % interval."""
    p = percent / 100
    # All, whichever two of them are taken: a lossy path is left for a better one.
    relays = [node.name for node in lab.topology.nodes.values() if node.role is Role.INTERMEDIATE]
    told = []
    for attempt in range(3):
        for number, relay in enumerate(relays):
            setting = Impairment(loss=p, seed=1000 * attempt + 10 * percent + number)
            lab.impair(EDGE, relay, setting, direction="a-to-b")
        before = [lab.counters(EDGE, relay)["a-to-b"] for relay in relays]
        report = one_way(lab, "solo", rate=20_000, seconds=4.0, size=100)
        after = [lab.counters(EDGE, relay)["a-to-b"] for relay in relays]
        assert (report["duplicated"], report["damaged"], report["socket_drops"]) == (0, 0, 0)
        lost, count = report["lost"], report["sent"]
        low, high = interval(count, p * p, 0.95)
        told.append(f"{lost} of {count} lost, expected {count * p * p:g}, 95 % interval {low} to {high}")
        least, most = interval(count, p * p, 0.9999)
        assert least <= lost <= most, told
        if low <= lost <= high:
            break
    else:
        pytest.fail(f"three runs outside the 95 % interval: {told}")
    grown = [
        {key: b[key] - a[key] for key in ("lost_random", "received", "kernel_drops")}
        for a, b in zip(before, after, strict=True)
    ]
    assert sum(each["kernel_drops"] for each in grown) == 0
    shares = ", ".join(f"{100 * each['lost_random'] / each['received']:.2f} %" for each in grown)
    figure(f"residual loss, {percent} % on each path, 2 copies", f"{'; then '.join(told)} (links counted {shares})")


def test_a_skew_of_100_ms_makes_no_first_copy_too_old(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """The overlay loses nothing. A machine that gives the edge no CPU for 20 ms fills the queue of its TUN: that loss
    comes before Braid and is counted by the kernel. And second copies may be too old until the window has grown, which
    takes longer where the gateway gets no CPU. What the fast relay's socket has no room for meanwhile arrives by the
    slow path, behind what came after it. It is measured up to three times until there is none of these, and that loss
    must stay below 1 % once."""
    fast = labs.pair(lab, EDGE, GATEWAY)[0]
    # All others, since a slow path is left for a better one.
    for node in lab.topology.nodes.values():
        if node.role is Role.INTERMEDIATE and node.name != fast:
            lab.impair(EDGE, node.name, Impairment(delay_ms=100.0), direction="a-to-b")
    told, good = [], False
    for _ in range(3):
        too_old, waiting = traffic.total_drops(lab, "too_old"), traffic.sent_dropped(lab, EDGE, "braid0")
        report = one_way(lab, "solo", rate=50_000, seconds=5.0, size=100)
        too_old = traffic.total_drops(lab, "too_old") - too_old
        waiting = traffic.sent_dropped(lab, EDGE, "braid0") - waiting
        told.append(f"{report['rate']:.0f} packets/s reached, {too_old} too old, {summary(report)}")
        assert report["duplicated"] == 0, told
        assert report["lost"] <= waiting, told
        clean = too_old == 0 and report["reordered"] == 0
        good |= clean and report["lost"] < report["sent"] / 100 and report["rate"] >= 47_500
        if good and report["lost"] == 0:
            break
    assert good, f"the machine is too busy: {told}"
    skew = next(s["skew_ms"] for s in lab.status(GATEWAY)["sessions"] if s["peer"] == EDGE)
    assert skew >= 90
    figure("path skew 100 ms at 50,000 packets/s", f"{'; then '.join(told)} (skew measured {skew:.0f} ms)")


def test_no_order_is_lost_when_the_short_path_loses(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """What the short path loses arrives by the long one, and nothing overtakes it meanwhile."""
    short, long = labs.pair(lab, EDGE, GATEWAY)
    lab.impair(EDGE, short, Impairment(loss=0.02, seed=3), direction="a-to-b")
    lab.impair(EDGE, long, Impairment(delay_ms=20.0), direction="a-to-b")
    reports = again_while_busy(
        lab,
        lambda: one_way(lab, "solo", rate=10_000, seconds=3.0, size=300),
        lambda report: report["lost"] == 0 and report["reorder_ms_max"] <= 25.0,
        lambda report: int(report["lost"]),
    )
    report = reports[-1]
    told = "; then ".join(map(summary, reports))
    figure("2 % loss on the short path, the long one 20 ms longer, 10,000 packets/s", told)
    assert (report["lost"], report["duplicated"]) == (0, 0)
    assert report["reorder_ms_max"] <= 25.0


def one_way(lab: RunningLab, application: str, **options: float) -> dict[str, Any]:
    """UDP from the client to its target: the receiver's report, and as ``rate`` the packets/s that were sent."""
    # A short run first: the flow, the paths' skew and the neighbour caches are there when it counts.
    to = traffic.endpoint(labs.vip(lab, application), 6002)
    for seconds in (0.5, options["seconds"]):
        with traffic.serving(lab, "origin-2", "udp-recv", 6002) as receiver:
            sent = traffic.run_generator(lab, "client", "udp-send", to, **{**options, "seconds": seconds})
            report = traffic.line_of(receiver)
    assert sent["send_errors"] == 0
    assert report["complete"]
    return {**report, "rate": sent["packets_per_second"]}


def summary(report: dict[str, Any]) -> str:
    late = f" (at most {report['reorder_ms_max']:.1f} ms)" if report["reordered"] else ""
    return (
        f"{report['lost']} of {report['sent']} lost, {report['duplicated']} duplicated, "
        f"{report['reordered']} reordered{late}"
    )


def interval(count: int, p: float, share: float) -> tuple[int, int]:
    """The exact binomial interval of ``share``: each tail left out has at most half of the rest."""
    tail = (1 - share) / 2
    low, total = 0, _probability(count, 0, p)
    while total <= tail:
        low += 1
        total += _probability(count, low, p)
    high = low
    while total < 1 - tail:
        high += 1
        total += _probability(count, high, p)
    return low, high


def _probability(n: int, k: int, p: float) -> float:
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))


def test_the_interval_is_that_of_the_tables() -> None:
    assert interval(100, 0.5, 0.95) == (40, 60)
    assert interval(10, 0.1, 0.95) == (0, 3)
