"""What is measured of a contender between the client and the origin. Each workload gives one or more figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from bench import cpu, figures
from bench.figures import Figure
from bench.search import Search, highest_rate
from bench.traffic import client, client_beside, clients, serving
from lab.errors import LabError

if TYPE_CHECKING:
    from bench.contenders import Contender
    from lab.running import RunningLab

Figures = dict[Figure, float]
Workload = Callable[[], Figures]
HEADERS = 28
"""Of IPv4 and UDP, in front of a datagram's payload."""
ECHO_PORT = 7001
WAKES_WITHIN = 10.0


@dataclass(slots=True)
class Pace:
    """How long measurements take, and where each search for a rate begins: where the one before ended."""

    tcp: float
    udp: float
    echo: float
    first: Search
    later: Search | None = None
    """Factor and steps of the searches after the first; its start does not count. None: as the first."""
    found: dict[tuple[str, int], float] = field(default_factory=dict)

    def search(self, contender: str, size: int) -> Search:
        before = self.found.get((contender, size), 0.0)
        if self.later is None or before <= 0:
            return self.first
        return Search(before, self.later.factor, self.later.steps)


def all_of(lab: RunningLab, contender: Contender, pace: Pace) -> dict[str, Workload]:
    """By name, in the order in which they are to run."""
    return {
        **bulk(lab, contender, pace),
        **{f"UDP {size} bytes": partial(_udp, lab, contender, pace, size) for size in figures.SIZES},
        "round trip idle": partial(_idle, lab, contender, pace),
        "round trip under load": partial(_loaded, lab, contender, pace),
    }


def bulk(lab: RunningLab, contender: Contender, pace: Pace) -> dict[str, Workload]:
    """TCP alone."""
    return {
        f"TCP {direction} {flows}": partial(_tcp, lab, contender, pace, direction, flows)
        for flows in figures.FLOWS
        for direction in ("up", "down")
    }


def wake(lab: RunningLab, contender: Contender) -> None:
    """Returns when packets come back, so that nobody's handshakes are measured. LabError if none does."""
    deadline = time.monotonic() + WAKES_WITHIN
    with serving(lab, contender, "udp-echo", port=ECHO_PORT):
        while time.monotonic() < deadline:
            echo = client(lab, contender, "udp-send", port=ECHO_PORT, rate=100.0, seconds=0.1, idle=0.3, echo=True)
            if echo["echo"]["received"]:
                return
    raise LabError(f"{contender.name}: nothing comes back from the origin")


def _tcp(lab: RunningLab, contender: Contender, pace: Pace, direction: str, flows: int) -> Figures:
    """Payload by the receiving end's count; of several flows all bytes by the longest time."""
    up = direction == "up"
    with serving(lab, contender, "tcp-sink" if up else "tcp-source") as report:
        before = cpu.of_each(contender.processes)
        near = clients(lab, contender, "tcp-send" if up else "tcp-recv", flows, seconds=pace.tcp)
        said = [report() for _ in range(flows)] if up else near
        used = cpu.of_each(contender.processes)
    gigabits = sum(float(flow["bytes"]) for flow in said) * 8e-9
    if not gigabits:
        raise LabError(f"no byte arrived: {said[0].get('error') or 'no error'}")
    found = {figures.tcp(direction, flows): gigabits / max(float(flow["seconds"]) for flow in said)}
    relays = used.get("intermediates", 0.0) - before.get("intermediates", 0.0)
    if up and flows == 1 and relays > 0:
        found[figures.RELAYED] = gigabits * contender.copies / relays
    return found


def _udp(lab: RunningLab, contender: Contender, pace: Pace, size: int) -> Figures:
    used = dict.fromkeys(contender.processes, 0.0)
    delivered = 0

    def run(rate: float) -> tuple[float, float]:
        nonlocal delivered
        before = cpu.of_each(contender.processes)
        with serving(lab, contender, "udp-recv") as report:
            sent = client(lab, contender, "udp-send", rate=rate, seconds=pace.udp, size=size - HEADERS)
            got = report()
        for node, seconds in cpu.of_each(contender.processes).items():
            used[node] += seconds - before[node]
        delivered += got["received"]
        return float(sent["packets_per_second"]), 1 - got["received"] / sent["sent"]

    best = highest_rate(run, pace.search(contender.key, size))
    if not best:
        raise LabError("no rate was found at which less than 0.1 % is lost")
    pace.found[contender.key, size] = best
    found = {figures.udp(size): best / 1000}
    if size == max(figures.SIZES):
        found |= {figures.cpu(node): seconds / delivered * 1e6 for node, seconds in used.items()}
    return found


def _idle(lab: RunningLab, contender: Contender, pace: Pace) -> Figures:
    return _round_trip(lab, contender, pace, "idle")


def _loaded(lab: RunningLab, contender: Contender, pace: Pace) -> Figures:
    """While one TCP flow takes what it can get, client to origin."""
    with serving(lab, contender, "tcp-sink"), client_beside(lab, contender, "tcp-send", pace.echo + 5):
        return _round_trip(lab, contender, pace, "under load")


def _round_trip(lab: RunningLab, contender: Contender, pace: Pace, state: str) -> Figures:
    """1000 packets/s of 128 bytes, there and back. What is lost has no time: LabError when that is more than 1 %."""
    with serving(lab, contender, "udp-echo", port=ECHO_PORT):
        options = {"rate": 1000.0, "seconds": pace.echo, "size": 100.0, "idle": 0.3}
        echo = client(lab, contender, "udp-send", port=ECHO_PORT, echo=True, **options)["echo"]
    if echo["received"] < 0.99 * echo["sent"]:
        raise LabError(f"{echo['lost']} of {echo['sent']} packets did not come back, round trip {state}")
    return {figures.round_trip(state, part): echo[f"delay_ms_{part}"] * 1000 for part in ("p50", "p99")}
