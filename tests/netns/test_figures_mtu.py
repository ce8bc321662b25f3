"""Links that carry less than they should, and no ICMP says so: what is lost, what is told, and how soon all is well."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from lab.impairment import Impairment
from tests.netns import labs, traffic
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
NARROW = 1280 + 96
"""Of the underlay: leaves 1280 bytes for packets of clients with IPv6 outside, 1300 with IPv4."""
CARRIED = range(1280, 1301)
TUN_MTU = 1404


def test_a_link_that_shrinks_under_two_copies_loses_nothing(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    """10,000 small packets a second and 200 of full size, both ways. Measured again, up to three times, as what the
    machine loses before packets enter Braid is not Braid's."""
    to = [traffic.endpoint(labs.vip(lab, "solo"), port) for port in (6011, 6012)]
    told = []
    for _ in range(3):
        labs.mend(lab)
        _wait_for(lambda: not _narrow(lab), 15.0)
        relay = labs.pair(lab, EDGE, GATEWAY)[0]
        with (
            traffic.serving(lab, "origin-2", "udp-echo", 6011),
            traffic.serving(lab, "origin-2", "udp-echo", 6012),
            traffic.sending(lab, "client", to[0], rate=10_000, seconds=5.0, size=200, echo=True) as small,
            traffic.sending(lab, "client", to[1], rate=200, seconds=5.0, size=TUN_MTU - 28, echo=True) as large,
        ):
            time.sleep(1.0)
            lab.impair(relay, GATEWAY, Impairment(mtu=NARROW))
            after = _wait_for(partial(_is_narrow, lab, relay), 10.0)
            words = _narrow(lab).get(relay, "nothing")
        dropped = lab.counters(relay, GATEWAY)["a-to-b"]["lost_size"]
        lost = {"200 B": small.report["echo"]["lost"], f"{TUN_MTU} B": large.report["echo"]["lost"]}
        told.append(f"lost {lost} (the link took {dropped}), told after {after:.1f} s: {words}")
        assert small.report["echo"]["duplicated"] == large.report["echo"]["duplicated"] == 0
        assert dropped > 0
        if not any(lost.values()) and after <= 2.0:
            break
    figure(f"2 copies, MTU {NARROW} on one link, 10,000 + 200 packets/s both ways", "; then ".join(told))
    # Two seconds are what it is for, on a machine that does nothing else.
    assert (sum(lost.values()), after < 10.0) == (0, True), told
    lab.impair(relay, GATEWAY, None)
    again = _wait_for(lambda: not _is_narrow(lab, relay), 60.0)
    figure("MTU restored: full size found again after", f"{again:.1f} s")
    assert again < 60.0


def test_a_download_goes_on_when_all_links_shrink(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """The server learns by ICMP. The best of up to three, as other gaps are measured."""
    # All of them: a path by one that still carries more would be taken instead.
    relays = {node.name for node in lab.topology.nodes.values() if node.role is Role.INTERMEDIATE}
    stalls: list[float] = []

    def carried() -> set[int]:
        return {each["mtu"] for each in lab.status(GATEWAY)["path_sets"] if each["peer"] == EDGE}

    while len(stalls) < 3 and min(stalls, default=9.0) > 2.0:
        labs.mend(lab)
        _wait_for(lambda: not _narrow(lab) and not _narrow(lab, GATEWAY), 15.0)
        lab.exec("origin-2", ["ip", "route", "flush", "cache"])
        with traffic.serving(lab, "origin-2", "tcp-source", 6013), _reading(lab, labs.vip(lab, "solo"), 6013) as times:
            time.sleep(1.0)
            shrunk = time.monotonic()
            for relay in relays:
                lab.impair(relay, GATEWAY, Impairment(mtu=NARROW))
            time.sleep(5.0)
            flows = lab.status(GATEWAY, "/flows")["flows"]
            # Sets that carry nothing of it learn by probes, which a machine that is behind sends late.
            _wait_for(lambda: carried() <= set(CARRIED), 10.0)
            known = time.monotonic() - shrunk
        arrivals = [shrunk, *(at for at in times if at >= shrunk)]
        stalls.append(max(b - a for a, b in pairwise(arrivals)))
        snat = next(flow["snat"] for flow in flows if flow["target"].endswith(":6013")).rpartition(":")[0]
        route = lab.exec("origin-2", ["ip", "route", "get", snat]).stdout
        took = sum(lab.counters(relay, GATEWAY)["b-to-a"]["lost_size"] for relay in relays)
    sets = carried()
    told = ", ".join(f"{stall:.2f}" for stall in stalls)
    figure(
        f"2 copies, MTU {NARROW} on all links, TCP download",
        f"longest stall {told} s (the links took {took} datagrams); sets carry {sorted(sets)} in {known:.1f} s",
    )
    assert arrivals[-1] - shrunk > 4.0, "it goes on to the end"
    assert took > 0
    assert sets
    assert sets <= set(CARRIED)
    learned = re.search(r"mtu (\d+)", route)
    assert learned is not None, route
    assert int(learned[1]) in CARRIED
    assert min(stalls) <= 4.0


def _narrow(lab: RunningLab, node: str = EDGE) -> dict[str, str]:
    """First hop -> what a node says of a path to the other end that carries less than it should."""
    other = GATEWAY if node == EDGE else EDGE
    paths: list[dict[str, Any]] = lab.status(node, "/paths")["paths"]
    return {
        p["route"][0]: p["trouble"]
        for p in paths
        if p["peer"] == other and re.search(r"carries only \d+ bytes since", p["trouble"])
    }


def _is_narrow(lab: RunningLab, relay: str) -> bool:
    return relay in _narrow(lab)


def _wait_for(condition: Callable[[], bool], timeout: float) -> float:
    """Seconds until it holds, or ``timeout``."""
    began = time.monotonic()
    while not condition() and time.monotonic() - began < timeout:
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def _reading(lab: RunningLab, address: str, port: int) -> Iterator[list[float]]:
    """A client that takes what a server gives; the times at which it got something."""
    times: list[float] = []
    client = lab.socket("client", socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(10.0)
    client.connect((address, port))

    ending = threading.Event()

    def body() -> None:
        try:
            while client.recv(1 << 20):
                times.append(time.monotonic())
        except ConnectionResetError:
            # A server that is cut off in mid-sentence may answer so.
            if not ending.is_set():
                raise

    thread = threading.Thread(target=body, name="download")
    thread.start()
    try:
        yield times
    finally:
        ending.set()
        client.shutdown(socket.SHUT_RDWR)
        thread.join()
        client.close()
