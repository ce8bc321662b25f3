"""A whole gateway region dies: new connections go elsewhere, and those that had their state there end, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import failover
from tests.netns import traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

OTHER = "gw-mil-1"


def test_a_dead_gateway_region_gets_no_new_connections_and_its_old_ones_are_reset(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    """One kill of those that ``python -m bench.failover`` makes; the limits allow for a busy machine."""
    failover.make_many(lab)
    kill = failover.kill_region(lab, 0)
    figure(
        "gateway region killed: new connections are good again",
        f"after {kill.same_client:.2f} s of a client that had connections, {kill.new_clients:.2f} s of new clients",
    )
    figure(
        "gateway region killed: TCP connections whose client only receives",
        f"reset after {kill.download_reset:.2f} s (a download), {kill.idle_reset:.2f} s (idle)",
    )
    there = traffic.curl_json(lab, "client", "http://shop.apps.example/headers", "-4")["client"]
    pools = lab.topology.nodes[OTHER].snat_pools
    assert there in {str(address) for pool in pools if pool.version == 4 for address in pool}
    assert max(kill.same_client, kill.new_clients) < 3.5
    assert max(kill.download_reset, kill.idle_reset) < 15.0
