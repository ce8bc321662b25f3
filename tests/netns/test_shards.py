"""Nodes of several shards: every kind of traffic, each flow in order, nothing lost, every shard at work."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from lab.origin import digest, size_of
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

FLOWS = 24
PACED: dict[str, float | bool] = {"echo": True, "window": 8, "idle": 10.0}
"""So few datagrams of a flow are without an answer at any time that all flows together fill no queue, however long a
thread that empties it waits for a processor; and answers are waited for."""
MIXED = {"edge": 2, "gw": 4}
"""Shards by the first part of a node's name; the others, intermediates and DNS nodes, have one."""


@pytest.fixture(scope="module", params=["two", "mixed"])
def sharded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    document = labs.demo(f"sh{request.param}")
    for name, node in document["nodes"].items():
        node["shards"] = 2 if request.param == "two" else MIXED.get(name.split("-")[0], 1)
    with labs.running(document, tmp_path_factory.mktemp(document["name"])) as lab:
        yield lab


ASTRAY = ("wrong_shard", "fragments_full", "no_session", "nat_no_flow")
"""Never: a packet met a shard that is not its own."""
FULL = ("handover_full", "tun_write_full", "too_old")
"""With a load without bounds, where a thread waits for a processor."""


def drops(lab: RunningLab, reasons: tuple[str, ...]) -> dict[str, int]:
    """What would be a packet of these tests, lost in a node, so far."""
    return {reason: traffic.total_drops(lab, reason) for reason in reasons}


def lateness(lab: RunningLab) -> dict[str, Any]:
    """How far apart copies came lately, and the windows they met: what explains that some were too old."""
    return {
        name: [
            (each["peer"], each["skew_ms"], each["window"]) for each in lab.status(name)["sessions"] if each["window"]
        ]
        for name in ("edge-fra-1", "gw-sto-1")
    }


def test_tcp_over_all_shards(sharded: RunningLab) -> None:
    sums: list[str] = []

    def fetch() -> None:
        sums.append(traffic.download(sharded, "client", "http://shop.apps.example/object/5MB").sha256)

    threads = [threading.Thread(target=fetch) for _ in range(FLOWS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [digest(size_of("5MB"))] * FLOWS
    assert not any(drops(sharded, ASTRAY).values()), drops(sharded, ASTRAY)
    for name in ("edge-fra-1", "gw-sto-1"):
        shards: list[dict[str, Any]] = sharded.status(name)["shards"]
        assert len(shards) == sharded.topology.nodes[name].shards
        for shard in shards:
            assert min(shard["tun_tx_packets"], shard["udp_rx_datagrams"], shard["udp_tx_datagrams"]) > 100, shards
        assert max(shard["last_turn_ms"] for shard in shards) < 2000


def test_udp_flows_keep_their_order_and_lose_nothing(sharded: RunningLab) -> None:
    before = [sharded.status(name)["sessions"] for name in ("edge-fra-1", "gw-sto-1")]
    dropped = drops(sharded, (*ASTRAY, *FULL))
    to = traffic.endpoint(labs.vip(sharded, "solo"), 6010)
    with traffic.serving(sharded, "origin-2", "udp-echo", 6010), ExitStack() as flows:
        options: dict[str, float | bool] = {"rate": 200, "seconds": 3.0, "size": 600, **PACED}
        futures = [flows.enter_context(traffic.sending(sharded, "client", to, **options)) for _ in range(FLOWS)]
    reports = [future.report for future in futures]
    for report in reports:
        echo = report["echo"]
        assert (echo["received"], echo["lost"], echo["duplicated"], echo["damaged"]) == (600, 0, 0, 0), echo
    # A flow may be overtaken once, when the kernel learns its queue: not again and again.
    reordered = [report["echo"]["reordered"] for report in reports]
    assert sum(reordered) <= FLOWS, reordered
    assert drops(sharded, tuple(dropped)) == dropped, lateness(sharded)
    after = [sharded.status(name)["sessions"] for name in ("edge-fra-1", "gw-sto-1")]
    assert [lost(each) for each in after] == [lost(each) for each in before]


def lost(sessions: list[dict[str, Any]]) -> int:
    return sum(session["recovery"]["lost"] for session in sessions if not session["adjacent"])


@pytest.mark.parametrize("inner", [4, 6])
def test_fragments_of_many_flows(sharded: RunningLab, inner: int) -> None:
    to = traffic.endpoint(labs.vip(sharded, "solo", inner), 6011)
    with traffic.serving(sharded, "origin-2", "udp-echo", 6011), ExitStack() as flows:
        # IPv6 hosts cut datagrams to the overlay's MTU only after they were told of it.
        traffic.run_generator(sharded, "client", "udp-send", to, rate=20, seconds=0.2, size=4000, idle=0.5, echo=True)
        # A receiver gives a datagram up when 64 fragments of others came between two of its own from one address
        # (ip-sysctl, ipfrag_max_dist), and all flows have one there: so few are under way, of five fragments each.
        options: dict[str, float | bool] = {"rate": 100, "seconds": 0.5, "size": 4000, **PACED, "window": 2}
        futures = [flows.enter_context(traffic.sending(sharded, "client", to, **options)) for _ in range(6)]
    for future in futures:
        echo = future.report["echo"]
        assert (echo["received"], echo["lost"], echo["duplicated"], echo["damaged"]) == (50, 0, 0, 0), echo


@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("size", [56, 3000])
def test_pings_small_and_in_fragments(sharded: RunningLab, inner: int, size: int) -> None:
    address = labs.vip(sharded, "shop", inner)
    if inner == 6 and size > 1400:
        # The host learns the path's MTU from the first one, which does not come back.
        sharded.exec("client", ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-s", str(size), address], check=False)
    for _ in range(4):
        # All at once: behind the last one ping waits for two round trips or one interval, whichever is longer, and of
        # pings each 20 ms it did not wait for an answer that a busy machine had for 20 ms.
        words = ["ping", "-n", "-c", "10", "-l", "10", "-i", "1", "-s", str(size), address]
        done = sharded.exec("client", words)
        assert " 10 received" in done.stdout
        assert "duplicates" not in done.stdout


def test_status_shows_flows_of_all_shards(sharded: RunningLab) -> None:
    flows = sharded.status("gw-sto-1", "/flows?limit=10000")["flows"]
    shards = sharded.topology.nodes["gw-sto-1"].shards
    owners = {int(flow["snat"].rsplit(":", 1)[1]) % shards for flow in flows}
    assert owners == set(range(shards))
    assert sharded.status("gw-sto-1")["nat"]["flows"] >= len(flows) > 0
