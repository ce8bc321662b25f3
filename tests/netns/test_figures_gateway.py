"""A whole gateway region dies: what had its state there ends, and says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.netns.receiver import ASK, Receiver, connected

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

REGION = "gw-sto"


def test_connections_through_a_dead_gateway_region_are_reset(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    receivers = {"download": Receiver(connected(lab, "shop"), ASK), "idle": Receiver(connected(lab, "shop"), b"")}
    time.sleep(1.0)
    killed = time.monotonic()
    for node in lab.topology.nodes_of(REGION):
        lab.kill(node.name)
    for each in receivers.values():
        each.wait()
    told = ", ".join(f"{name}: {each.how} after {each.ended - killed:.2f} s" for name, each in receivers.items())
    figure("gateway region killed: TCP connections whose client only receives", told)
    assert receivers["download"].received > 10_000_000
    assert [each.how for each in receivers.values()] == ["ECONNRESET"] * 2
    assert max(each.ended for each in receivers.values()) - killed < 5.0
