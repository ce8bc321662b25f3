from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from braid import core as seam
from braid.desired import (
    Desired,
    EdgeApplication,
    EdgePolicy,
    GatewayApplication,
    GatewayPolicy,
    GatewayVip,
    Neighbour,
    PathChoice,
    PathSet,
    TargetChoice,
)
from braid.events import (
    ConnectionEnded,
    ConnectionHeld,
    Control,
    CoreEvent,
    Down,
    Established,
    Failed,
    Initiation,
    Losses,
    Rekey,
    SentOn,
    ServiceRequest,
    Stream,
    Up,
)
from tests.braid.fake_core import Fabric, FakeCore

if TYPE_CHECKING:
    from dataplane import _native

NEIGHBOURS = (Neighbour(21, ("10.90.0.21:7400", "[fd90::21]:7400")),)
PATHS = (PathSet(31, 1, (PathChoice(0, (21, 31)),), (PathChoice(1, (22, 31)),)),)


def test_desired_state_of_an_edge_has_the_shape_the_core_takes() -> None:
    policy = EdgePolicy((EdgeApplication(0, ("10.91.1.130",), (("tcp", 80, 80), ("icmp", 0, 65535)), 2, (31, 32)),))
    assert json.loads(Desired(NEIGHBOURS, PATHS, edge=policy).to_json()) == {
        "neighbours": [{"node": 21, "addresses": ["10.90.0.21:7400", "[fd90::21]:7400"], "answers": False}],
        "path_sets": [
            {
                "peer": 31,
                "set": 1,
                "paths": [{"id": 0, "route": [21, 31]}],
                "spares": [{"id": 1, "route": [22, 31]}],
                "measured": False,
                "spread_us": 0,
            }
        ],
        "edge": {
            "applications": [
                {
                    "app": 0,
                    "vips": ["10.91.1.130"],
                    "ports": [["tcp", 80, 80], ["icmp", 0, 65535]],
                    "set": 2,
                    "gateways": [31, 32],
                    "cookies": False,
                    "diverts": [],
                    "owners": [],
                }
            ]
        },
    }


def test_desired_state_of_a_gateway_has_the_shape_the_core_takes() -> None:
    application = GatewayApplication(
        0,
        (GatewayVip("10.91.1.130", 11),),
        (("any", 0, 65535),),
        2,
        (TargetChoice("10.93.0.10", None, 1, healthy=True),),
        "fast-path",
    )
    desired = Desired(gateway=GatewayPolicy((application,), ("10.93.0.128/30", "fd93::1:0/126")))
    assert json.loads(desired.to_json()) == {
        "neighbours": [],
        "path_sets": [],
        "gateway": {
            "applications": [
                {
                    "app": 0,
                    "vips": [{"address": "10.91.1.130", "edge": 11}],
                    "ports": [["any", 0, 65535]],
                    "set": 2,
                    "targets": [{"address": "10.93.0.10", "port": None, "weight": 1, "healthy": True}],
                    "mode": "fast-path",
                    "cookies_at_edge": False,
                }
            ],
            "snat": ["10.93.0.128/30", "fd93::1:0/126"],
            "proxied": [],
            "guests": [],
            "siblings": [],
            "sibling": None,
            "moving": False,
        },
    }


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (("initiation", 7, 21, True, b"k", b"c"), Initiation(7, 21, True, b"k", b"c")),
        (("established", 21, False, 3, True, 7), Established(21, False, 3, True, 7)),
        (
            (
                "losses",
                31,
                0.1,
                [(16, 0b11, 100, 6, 4), (None, 0b111, 1, 0, 0)],
                [(1, 10)],
                [(0, 1, 4)],
                [(16, 100, 200, 5000)],
                [(0, 12_500)],
            ),
            Losses(
                31,
                0.1,
                (Stream(16, frozenset({0, 1}), 100, 6, 4), Stream(None, frozenset({0, 1, 2}), 1, 0, 0)),
                {1: 10},
                {(0, 1): 4},
                (SentOn(16, 100, 200, 5000),),
                {0: 0.0125},
            ),
        ),
        (("up", 21, True), Up(21, True)),
        (("down", 21, True), Down(21, True)),
        (("rekey", 21, False), Rekey(21, False)),
        (("control", 21, True, b"m"), Control(21, True, b"m")),
        (("service_request", 5, 7, 31, b"r", None, 40, 1_500_000_000, True), ServiceRequest(5, b"r", None, 1.5, True)),
        (("held", 5, 1_500_000_000), ConnectionHeld(5, 1.5)),
        (("ended", 5, "closed", 1, 2), ConnectionEnded(5, "closed", 1, 2)),
        (("failed", "panic"), Failed("panic")),
    ],
)
def test_every_event_has_a_type(raw: _native.Event, event: CoreEvent) -> None:
    assert seam.typed_event(raw) == event


async def test_events_arrive_in_order_also_when_there_are_many(nursery: trio.Nursery) -> None:
    core = FakeCore(Fabric(), 1)
    received: list[CoreEvent] = []
    settled: list[int] = []
    nursery.start_soon(seam.pump_events, core, received.append, lambda: settled.append(len(received)))
    await trio.testing.wait_all_tasks_blocked()
    for number in range(600):
        core.push(("up", number, True))
    for _ in range(50):
        await trio.testing.wait_all_tasks_blocked()
    assert received == [Up(number, True) for number in range(600)]
    assert settled[-1] == 600
    assert len(settled) < 10
    nursery.cancel_scope.cancel()


def test_counters_are_read_as_they_are() -> None:
    core = FakeCore(Fabric(), 1)
    assert seam.read_snapshot(core)["drops"] == {}
    assert seam.read_flows(core, 10) == []
