"""Drains where the network has to follow: servers that see their clients' own addresses, and pools behind a router."""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import pytest

from bench import drain as bench
from braid.commands_drain import drain, undrain
from tests.netns.keeping import Kept
from tests.netns.test_drain import check_objects, start_objects

if TYPE_CHECKING:
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

ROUTER = "router-1"
GATEWAYS = {bench.GATEWAY: "10.93.0.2", bench.SIBLING: "10.93.0.3"}
POOLS = {bench.GATEWAY: "10.94.0.0/30", bench.SIBLING: "10.94.0.4/30"}
SIZES = ("10MB", "12MB", "9MB", "11MB")


def restart(lab: RunningLab) -> None:
    lab.kill(bench.GATEWAY, SIGTERM)
    time.sleep(1.0)
    lab.start(bench.GATEWAY)
    lab.wait_ready(bench.GATEWAY)
    bench.wait_for_sibling(lab)


def route(lab: RunningLab, host: str, prefix: str, gateway: str) -> None:
    lab.exec(host, ["ip", "route", "replace", prefix, "via", GATEWAYS.get(gateway, gateway)])


def test_servers_that_see_their_clients_go_on_when_their_route_follows(tmp_path: Path) -> None:
    document = bench.document("drainown")
    proxy = {"kind": "http", "client_address": "transparent", "splice_above": 100_000}
    own = {"hostnames": ["own.apps.example"], "proxy": proxy}
    document["applications"]["own"] = copy.deepcopy(document["applications"]["http"]) | own
    clients = "10.91.1.0/24"
    with bench.running(tmp_path, "drainown", document) as lab:
        route(lab, bench.SERVER, clients, bench.GATEWAY)
        kept, running = Kept(lab, 20, 1, application="own"), start_objects(lab, "own", *SIZES)
        time.sleep(0.5)
        bench.order(lab)
        # Servers answer by the drained gateway yet, which passes it on.
        kept.ask()
        route(lab, bench.SERVER, clients, bench.SIBLING)
        kept.ask()
        restart(lab)
        kept.ask()
        route(lab, bench.SERVER, clients, bench.GATEWAY)
        kept.ask()
        bench.order(lab, back=True)
        kept.ask()
        kept.end()
        check_objects(running, *SIZES)


def routed(name: str) -> dict[str, Any]:
    """Pools that are on no link, and a router that knows the way to them."""
    found = bench.document(name)
    for gateway, pool in POOLS.items():
        found["nodes"][gateway]["snat_pools"] = [pool]
    lab = found["lab"]
    lab["networks"]["origins"]["members"][ROUTER] = ["10.93.0.254"]
    del lab["networks"]["origins"]["members"][bench.SERVER]
    lab["networks"]["servers"] = {
        "prefixes": ["10.95.0.0/24"],
        "members": {ROUTER: ["10.95.0.254"], bench.SERVER: ["10.95.0.10"]},
    }
    lab["hosts"][ROUTER] = {"kind": "client"}
    for application in found["applications"].values():
        application["targets"] = [{"address": "10.95.0.10"}]
    return found


def test_pools_behind_a_router_are_led_to_the_sibling(tmp_path: Path) -> None:
    with bench.running(tmp_path, "drainrouted", routed("drainrouted")) as lab:
        lab.exec(ROUTER, ["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for prefix in ("10.94.0.0/24", "10.93.0.0/24"):
            route(lab, bench.SERVER, prefix, "10.95.0.254")
        for gateway, pool in POOLS.items():
            route(lab, gateway, "10.95.0.0/24", "10.93.0.254")
            route(lab, ROUTER, pool, gateway)
        kept = Kept(lab, 20, 1)
        running = [start_objects(lab, mode, *SIZES) for mode in ("nat", "fast-path", "http")]
        time.sleep(0.5)
        with ThreadPoolExecutor() as threads:
            leaves = threads.submit(drain, bench.GATEWAY, bench.SIBLING, True, 60, None, lab.name)
            while bench.said(lab, bench.GATEWAY)["state"] not in ("following", "away"):
                time.sleep(0.05)
            route(lab, ROUTER, POOLS[bench.GATEWAY], bench.SIBLING)
            assert leaves.result() == 0
            restart(lab)
            kept.ask()
            comes = threads.submit(undrain, bench.GATEWAY, 60, None, lab.name)
            while bench.said(lab, bench.GATEWAY)["state"] not in ("returned", "home"):
                time.sleep(0.05)
            route(lab, ROUTER, POOLS[bench.GATEWAY], bench.GATEWAY)
            assert comes.result() == 0
        kept.ask()
        kept.end()
        for child in running:
            check_objects(child, *SIZES)
