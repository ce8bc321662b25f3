"""Parts of the demo that decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cast import cast_of
from lab.demo import busiest_relay, lost_packets
from lab.errors import LabError
from tests.lab.small import small
from topology.source import load

DEMO = Path(__file__).resolve().parents[2] / "lab" / "demo.yaml"


def test_the_demo_topology_has_all_that_the_demo_shows() -> None:
    topology = load(DEMO)
    cast = cast_of(topology)
    assert (cast.client, cast.edge, cast.dns) == ("client", "edge-fra-1", "dns-1")
    assert (cast.hostname, cast.web_gateway, cast.flow_target) == ("shop.apps.example", "gw-sto-1", "origin-1")
    assert {cast.vip, cast.flow_vip} <= {str(vip.address) for vip in topology.vips if vip.edge == "edge-fra-1"}
    assert cast.vip != cast.flow_vip


def test_another_topology_is_told_what_it_lacks() -> None:
    with pytest.raises(LabError, match="tcp/80"):
        cast_of(small())


def test_the_relay_that_carries_most_is_chosen() -> None:
    def path(relay: str, copies: int, peer: str = "gw", **more: bool) -> dict[str, object]:
        return {"peer": peer, "route": [relay, peer], "copies_sent": copies, "in_use": True, "up": True, **more}

    paths = [path("a", 5), path("b", 7), path("c", 99, in_use=False), path("d", 99, "other"), path("e", 99, up=False)]
    assert busiest_relay({"paths": paths}, "gw") == "b"
    with pytest.raises(LabError, match="1 of 2"):
        busiest_relay({"paths": paths[1:]}, "gw")


def test_lost_packets_are_those_of_the_end_to_end_session() -> None:
    def session(peer: str, lost: int, *, adjacent: bool) -> dict[str, object]:
        return {"peer": peer, "adjacent": adjacent, "recovery": {"lost": lost}}

    sessions = [session("gw", 3, adjacent=False), session("gw", 50, adjacent=True), session("x", 9, adjacent=False)]
    assert lost_packets({"sessions": sessions}, "gw") == 3
