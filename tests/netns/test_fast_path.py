"""Real clients and servers through an application of mode ``fast-path``: bytes, options, sizes, faults."""

from __future__ import annotations

import itertools
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from bench.failover import ASK, Receiver, connected
from lab.impairment import Impairment
from lab.origin import digest, size_of
from tests.netns import hosts, labs, traffic
from topology.model import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

GATEWAY = "gw-sto-1"
CLIENT, SERVER = "client", "origin-2"
NOBODY = "10.93.0.99"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    document = labs.demo("fast")
    for name, target in (("fast", document["applications"]["solo"]["targets"]), ("silent", [{"address": NOBODY}])):
        document["applications"][name] = {
            "hostnames": [f"{name}.apps.example"],
            "ports": ["any"],
            "targets": deepcopy(target),
            "gateways": ["gw-sto"],
            "mode": "fast-path",
        }
    for name, proxy in (("plain", {"kind": "tcp"}), ("long", {"kind": "http", "splice_above": 100_000})):
        proxied = {"mode": "proxy", "hostnames": [f"{name}.apps.example"], "ports": ["tcp/80"], "proxy": proxy}
        document["applications"][name] = {**deepcopy(document["applications"]["fast"]), **proxied}
    document["applications"]["at-edge"] = {
        **deepcopy(document["applications"]["fast"]),
        "hostnames": ["at-edge.apps.example"],
        "cookie_at": "edge",
    }
    document["regions"]["gw-sto"]["cookie_secret"] = "5a" * 16
    with labs.running(document, tmp_path_factory.mktemp("fast")) as lab:
        yield lab


@pytest.fixture
def fast(whole: RunningLab) -> Iterator[RunningLab]:
    """The lab, whole at the beginning of each test."""
    yield whole
    labs.mend(whole)


def url(lab: RunningLab, path: str, version: int = 4, application: str = "fast", port: int = 80) -> str:
    return f"http://{traffic.endpoint(labs.vip(lab, application, version), port)}{path}"


def fetch(lab: RunningLab, size: str, version: int = 4, application: str = "fast") -> traffic.Download:
    got = traffic.download(lab, CLIENT, url(lab, f"/object/{size}", version, application), "--max-time", "60")
    assert got.sha256 == digest(size_of(size))
    return got


def upload(lab: RunningLab, megabytes: int) -> None:
    """Bytes to a server that counts them."""
    to = traffic.endpoint(labs.vip(lab, "fast"), 6020)
    with traffic.serving(lab, SERVER, "tcp-sink", 6020) as sink:
        script = f"head -c {megabytes}M /dev/zero >/dev/tcp/{to.rsplit(':', 1)[0]}/6020"
        assert lab.exec(CLIENT, ["bash", "-c", script], timeout=60).returncode == 0
        assert traffic.line_of(sink)["bytes"] == megabytes << 20


def test_50_mb_are_exact_in_spite_of_loss_reordering_and_two_copies(
    fast: RunningLab, figure: Callable[[str, object], None]
) -> None:
    ends = ("edge-fra-1", GATEWAY)
    for number, (end, relay) in enumerate(itertools.product(ends, labs.pair(fast, *ends))):
        fast.impair(end, relay, Impairment(loss=0.03, reorder=0.03, reorder_ms=2.0, seed=40 + number))
    got = fetch(fast, "50MB")
    upload(fast, 10)
    status = fast.status(GATEWAY)
    assert status["fast_path"]["established"] >= 2
    figure("fast path, 50 MB, 3 % loss and reordering on each link, 2 copies", f"exact, {got.megabits:.0f} Mbit/s")


@pytest.mark.parametrize("application", ["fast", "plain", "long"])
def test_a_server_takes_its_client_for_as_far_away_as_it_is(fast: RunningLab, application: str) -> None:
    """Not for the gateway, which made the connection and may have read the head of an answer: BBR would send no more
    than fits into so short a round trip. Where a splice takes longer than acknowledgements wait, as on a busy machine,
    the server has measured the gateway's stack: one of three will do."""
    labs.put_far(fast, "edge-fra-1", 20.0)
    time.sleep(1.0)
    path = url(fast, "/object/3MB", application=application)
    least = max(traffic.shortest_round_trip(fast, CLIENT, path, SERVER) for _ in range(3))
    assert 40.0 <= least < 80.0


def test_flows_show_mode_records_and_server(fast: RunningLab) -> None:
    with traffic.serving(fast, SERVER, "tcp-source", 6021):
        # Named by address, so that it is a connection of this test alone.
        held = fast.popen(CLIENT, ["bash", "-c", f"exec 3<>/dev/tcp/{labs.vip(fast, 'fast')}/6021; sleep 30"])
        try:
            flow = wait_for(lambda: next(iter(flows_to(fast, 6021)), None))
        finally:
            held.kill()
            held.wait()
    assert (flow["mode"], flow["target"], flow["application"]) == ("fast", "10.93.0.11:6021", "fast")
    assert flow["records"]["client"]["timestamps"] is True
    assert flow["records"]["proxy"]["server_isn"] > 0


def flows_to(lab: RunningLab, port: int) -> list[dict[str, Any]]:
    flows = lab.status(GATEWAY, "/flows?limit=1000")["flows"]
    alive = [flow for flow in flows if flow["mode"] == "fast" and flow["state"] == "established"]
    return [flow for flow in alive if flow["vip"].endswith(f":{port}")]


def wait_for(found: Callable[[], Any], timeout: float = 5.0) -> dict[str, Any]:
    limit = time.monotonic() + timeout
    while not (value := found()):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert isinstance(value, dict)
    return value


def test_every_pair_of_option_sets_works(fast: RunningLab) -> None:
    """Client and server each without timestamps, SACK or window scaling, or with all, over both IP versions, and with
    cookies of the edge."""
    for of_client, of_server in itertools.product(hosts.option_sets(), hosts.option_sets()):
        with hosts.options(fast, CLIENT, **of_client), hosts.options(fast, SERVER, **of_server):
            for version in (4, 6):
                fetch(fast, "1MB", version)
            fetch(fast, "1MB", 4, "at-edge")


def test_connecting_to_an_edge_takes_no_time_of_the_overlay(
    fast: RunningLab, figure: Callable[[str, object], None]
) -> None:
    # All of the edge's, since better ones are taken.
    for node in fast.topology.nodes.values():
        if node.role is Role.INTERMEDIATE:
            fast.impair("edge-fra-1", node.name, Impairment(delay_ms=30.0))
    before = fast.status("edge-fra-1")["fast_path"]["cookies_sent"]
    took = {name: min(connect_ms(fast, name) for _ in range(5)) for name in ("fast", "at-edge")}
    assert fast.status("edge-fra-1")["fast_path"]["cookies_sent"] >= before + 5
    figure("fast path, 30 ms more on each link of the edge: connect time", f"{took} ms")
    assert took["fast"] > 30
    assert took["at-edge"] < 20


def connect_ms(lab: RunningLab, application: str) -> float:
    words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{time_connect}", url(lab, "/", 4, application)]
    return round(float(lab.exec(CLIENT, words, timeout=30).stdout) * 1000, 2)


def test_clients_that_only_receive_are_told_of_a_gateway_that_started_again(
    fast: RunningLab, figure: Callable[[str, object], None]
) -> None:
    """Killed and started at once: it is back before anybody missed it."""
    told = {}
    for application in ("fast", "at-edge"):
        receiver = Receiver(connected(fast, application), ASK)
        wait_for(lambda receiver=receiver: {"bytes": receiver.received} if receiver.received > 1_000_000 else None)
        fast.kill(GATEWAY)
        killed = time.monotonic()
        fast.start(GATEWAY)
        receiver.wait()
        assert receiver.how == "ECONNRESET"
        told[application] = round(receiver.ended - killed, 2)
        labs.mend(fast)
    figure("fast path, gateway killed and started at once: a client that only receives is reset after", f"{told} s")


@pytest.mark.parametrize("size", [1280, 1400, 1500])
@pytest.mark.parametrize("host", [CLIENT, SERVER])
def test_every_mtu_works(fast: RunningLab, host: str, size: int) -> None:
    """A link that is narrower at the far end only: packets that are too long are lost without a word."""
    with hosts.mtu(fast, host, size):
        for version in (4, 6):
            fetch(fast, "1MB", version)
        upload(fast, 1)


def test_a_server_that_refuses_or_never_answers_is_told_to_the_client(
    fast: RunningLab, figure: Callable[[str, object], None]
) -> None:
    told = []
    for name, application, port, least, most in (
        ("refuses", "fast", 81, 0.0, 2.0),
        ("never answers", "silent", 80, 7.0, 9.5),
    ):
        began = time.monotonic()
        done = fast.exec(
            CLIENT, ["curl", "-sS", "--max-time", "15", url(fast, "/", 4, application, port)], check=False, timeout=30
        )
        took = time.monotonic() - began
        # The reset may be there before curl has looked whether it is connected.
        assert done.returncode == 7 or (done.returncode == 56 and "reset" in done.stderr), done.stderr
        assert least <= took <= most
        told.append(f"{name}: reset after {took:.2f} s")
    drops = fast.status(GATEWAY)["drops"]
    assert drops["fast_server_refused"] >= 1
    assert drops["fast_server_silent"] >= 1
    figure("fast path, server that refuses and one that never answers", "; ".join(told))
