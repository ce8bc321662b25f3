"""A drained and a dead edge, and the answers of the DNS node."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from dnslib import DNSRecord

from dns.drain import drain_file
from lab import netns
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, SERVER = "edge-fra-1", "10.91.1.53"


@contextmanager
def asking(lab: RunningLab) -> Iterator[Callable[[], list[str]]]:
    """What the DNS node answers the client that ``EDGE`` serves."""
    with lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2.0)

        def answer() -> list[str]:
            asker.sendto(bytes(DNSRecord.question("shop.apps.example").pack()), (SERVER, 53))
            return [str(record.rdata) for record in DNSRecord.parse(asker.recv(2048)).rr]

        yield answer


def until(condition: Callable[[], bool]) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 10
        time.sleep(0.02)
    return time.monotonic() - began


def braid_dns(lab: RunningLab, *words: str) -> str:
    """On the host of the DNS node."""
    command = [sys.executable, "-m", "braid", "dns", *words, "-t", str(lab.file)]
    return lab.exec("dns-1", command, timeout=30).stdout


def test_a_drained_edge_leaves_the_answers_and_forwards_on(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    own, other = labs.vip(lab, "shop", edge=EDGE), labs.vip(lab, "shop", edge="edge-nyc-1")
    to = traffic.endpoint(labs.vip(lab, "solo"), 6006)
    with asking(lab) as answer, traffic.serving(lab, "origin-2", "udp-echo", 6006):
        assert answer() == [own]
        with traffic.sending(lab, "client", to, rate=1_000, seconds=5.0, size=300, echo=True) as sent:
            time.sleep(0.5)
            braid_dns(lab, "drain", EDGE)
            until(lambda: answer() == [other])
            took = time.time() - drain_file(lab.file).stat().st_mtime
            told: dict[str, Any] = json.loads(
                braid_dns(lab, "explain", "shop.apps.example", "--client", "10.91.1.10", "--json")
            )
        braid_dns(lab, "undrain", EDGE)
        until(lambda: answer() == [own])
    echo = sent.report["echo"]
    figure(
        "a drained edge out of the DNS answers after",
        f"{took:.2f} s; through its VIP {echo['lost']} of {echo['sent']} lost meanwhile and for seconds after",
    )
    assert took < 1.0
    assert [each["edge"] for each in told["answer"]] == ["edge-nyc-1"]
    assert {each["edge"]: each["standing"] for each in told["candidates"]}[EDGE] == "draining"
    assert (echo["lost"], echo["duplicated"]) == (0, 0)


def test_a_killed_edge_leaves_the_answers(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """``python -m bench.dns.failover`` does it often, with two DNS nodes."""
    gone, before = labs.vip(lab, "shop", edge=EDGE), told_down(lab)
    with asking(lab) as answer:
        assert answer() == [gone]
        lab.kill(EDGE)
        took = until(lambda: answer() != [gone])
        assert answer() == [labs.vip(lab, "shop", edge="edge-nyc-1")]
    until(lambda: told_down(lab) != before)
    count, seconds = (after - was for after, was in zip(told_down(lab), before, strict=True))
    figure("a killed edge out of the DNS answers after", f"{took:.2f} s; its last report was {seconds:.2f} s old")
    assert count == 1
    assert took - 0.2 < seconds < took + 1.0, "a report comes every half second"


def told_down(lab: RunningLab) -> tuple[float, float]:
    """Edges that were found down, and how long after their news in all, in seconds."""
    node = lab.topology.nodes["dns-1"].status
    _, body = netns.http_get(lab.namespace("dns-1"), str(node.host), node.port, "/metrics", 5.0)
    family = 'braid_dns_propagation_seconds_{}{{reason="down"}} (.*)'
    found = [re.search(family.format(part), body.decode()) for part in ("count", "sum")]
    count, total = (0.0 if each is None else float(each[1]) for each in found)
    return count, total
