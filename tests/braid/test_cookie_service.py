"""Which keys of SYN cookies a node has, and when it gets others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from braid import cookie_service
from braid.cookie_service import wanted
from braid.cookies import PERIOD, period_keys
from braid.role import NodeHandle, Situation
from topology.model import CookiePlace, ServiceMode, Topology
from topology.source import load

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
OWN, STOCKHOLM, MILAN = b"o" * 16, b"s" * 16, b"m" * 16


def topology(place: CookiePlace = CookiePlace.GATEWAY, secret: bytes = STOCKHOLM) -> Topology:
    """The demo; its application ``shop`` goes through both gateway regions."""
    demo = load(Path("lab/demo.yaml"))
    regions = {
        **demo.regions,
        "gw-sto": replace(demo.regions["gw-sto"], cookie_secret=secret),
        "gw-mil": replace(demo.regions["gw-mil"], cookie_secret=MILAN),
    }
    shop = replace(demo.applications["shop"], mode=ServiceMode.FAST_PATH, cookie_at=place)
    return replace(demo, regions=regions, applications={**demo.applications, "shop": shop})


def test_a_gateway_has_the_secret_of_its_region_or_one_of_its_own() -> None:
    assert wanted(topology(), GATEWAY, OWN) == [(STOCKHOLM, [])]
    assert wanted(topology(secret=b""), GATEWAY, OWN) == [(OWN, [])]


def test_an_edge_has_those_of_the_gateways_in_whose_name_it_answers_and_no_others() -> None:
    given = topology(CookiePlace.EDGE)
    numbers = {region: [node.number for node in given.nodes_of(region)] for region in ("gw-sto", "gw-mil")}
    assert wanted(given, EDGE, OWN) == [(STOCKHOLM, numbers["gw-sto"]), (MILAN, numbers["gw-mil"])]
    assert wanted(topology(), EDGE, OWN) == []
    elsewhere = replace(given, vips=tuple(vip for vip in given.vips if vip.edge != EDGE))
    assert wanted(elsewhere, EDGE, OWN) == []


class Node:
    """Remembers the keys that it is given."""

    def __init__(self, given: Topology) -> None:
        self.topology, self.reloads = given, trio.Event()
        self.keys: list[tuple[int, list[tuple[int, bytes]], list[int]]] = []

    def reload(self, given: Topology) -> None:
        self.topology, before, self.reloads = given, self.reloads, trio.Event()
        before.set()

    def handle(self) -> NodeHandle:
        def unused(*_words: object) -> bool:
            raise AssertionError("not for cookies")

        return NodeHandle(
            situation=lambda: Situation(self.topology, GATEWAY, None),  # type: ignore[arg-type]
            replan=lambda: None,
            send_control=unused,
            changed=lambda: self.reloads,
            reloaded=lambda: self.reloads,
            draining=lambda: False,
            ready=lambda: True,
            traffic=dict,
            set_syn_keys=lambda current, keys, gateways: self.keys.append((current, keys, gateways)),
            tell=lambda _name, _message: None,
            send_to_peer=lambda _name, _message: False,
            set_owner=lambda *_words, **_named: False,
            hear=lambda: None,
            held=lambda _hold: False,
        )


async def test_keys_are_there_at_the_start_and_change_with_the_period_and_the_topology(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = 1e9 // PERIOD * PERIOD + 10
    monkeypatch.setattr("braid.cookie_service.time.time", lambda: began + trio.current_time())
    node = Node(topology())
    await nursery.start(cookie_service.run, node.handle())

    def expected(secret: bytes) -> tuple[int, list[tuple[int, bytes]], list[int]]:
        current, keys = period_keys(secret, began + trio.current_time())
        return current, list(keys), []

    assert node.keys == [expected(STOCKHOLM)]
    await trio.sleep(PERIOD - 10.5)
    assert len(node.keys) == 1, "the period has not ended"
    await trio.sleep(1)
    assert node.keys[1:] == [expected(STOCKHOLM)]
    node.reload(topology(secret=MILAN))
    await trio.sleep(0.1)
    assert node.keys[2:] == [expected(MILAN)]
