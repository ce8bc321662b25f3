"""A dead edge and the answers of the DNS node."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from dnslib import DNSRecord

from tests.netns import labs

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, SERVER = "edge-fra-1", "10.91.1.53"


def test_a_killed_edge_leaves_the_answers(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    """``python -m bench.dns.failover`` does it often, with two DNS nodes."""
    gone = labs.vip(lab, "shop", edge=EDGE)
    with lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(2.0)

        def answer() -> list[str]:
            asker.sendto(bytes(DNSRecord.question("shop.apps.example").pack()), (SERVER, 53))
            return [str(record.rdata) for record in DNSRecord.parse(asker.recv(2048)).rr]

        assert answer() == [gone]
        lab.kill(EDGE)
        began = time.monotonic()
        while answer() == [gone]:
            assert time.monotonic() - began < 10
            time.sleep(0.02)
        took = time.monotonic() - began
        assert answer() == [labs.vip(lab, "shop", edge="edge-nyc-1")]
    figure("a killed edge out of the DNS answers after", f"{took:.2f} s")
