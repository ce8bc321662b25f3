"""Live connections go to another gateway and home again, and a gateway is restarted meanwhile: nobody notices."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import TYPE_CHECKING, Any

import pytest

from bench import drain as bench
from braid.commands_drain import BadOrder, drain
from braid.drained import Order, orders_file, read_orders, write_order
from lab.impairment import Impairment
from lab.origin import digest, size_of
from tests.netns import traffic
from tests.netns.keeping import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

CONNECTIONS, DOWNLOADS = 120, 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with bench.running(tmp_path_factory.mktemp("drain"), "drain") as lab:
        yield lab


@pytest.mark.parametrize("mode", bench.MODES)
def test_a_rolling_upgrade_of_a_gateway_breaks_no_connection(
    pair: RunningLab, mode: str, figure: Callable[[str, object], None]
) -> None:
    found = bench.measure(pair, mode, CONNECTIONS, DOWNLOADS, calm=1.0)
    parts = {name: found[name] for name in ("before", "drain", "restart", "undrain")}
    figure(f"drain, {mode}: longest gap of {DOWNLOADS} downloads beyond their pace, ms", {
        name: part["gap_ms"]["longest"] for name, part in parts.items()
    })  # fmt: skip
    for name, part in parts.items():
        assert (part["live"], part["failed"]) == (CONNECTIONS, 0), (name, part)
        assert part.get("answers", {}).get("silent", 0) == 0, name
    assert found["drain"]["said"]["flows"] >= CONNECTIONS, "all flows were told"
    assert found["drain"]["said"]["refused"] == found["undrain"]["said"]["refused"] == 0
    assert found["undrain"]["said"]["flows"] >= CONNECTIONS, "and told back"
    assert read_orders(orders_file(pair.file)) == {}


@pytest.mark.parametrize("mode", bench.MODES)
def test_real_downloads_are_whole_while_their_gateway_is_drained_and_comes_back(pair: RunningLab, mode: str) -> None:
    size = "60MB"
    vip = bench.vip(pair, mode)
    argv = ["curl", "-s", "--limit-rate", "10M", f"http://{traffic.endpoint(vip, 80)}/object/{size}"]
    hashed = ["sh", "-c", f"{' '.join(argv)} | sha256sum"]
    running = [pair.popen(bench.CLIENT, hashed, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    time.sleep(0.5)
    bench.order(pair)
    time.sleep(0.5)
    bench.order(pair, back=True)
    for child in running:
        assert child.communicate(timeout=60)[0].split()[0] == digest(size_of(size))


def start_objects(
    lab: RunningLab, mode: str, *sizes: str, rate: str = "10M", version: int = 4
) -> subprocess.Popen[str]:
    """Objects one after the other over one connection."""
    host = traffic.endpoint(bench.vip(lab, mode, version), 80)
    words = " ".join(f"-o >(sha256sum >&2) http://{host}/object/{size}" for size in sizes)
    script = f"curl -sS --fail --limit-rate {rate} -w '%{{num_connects}} ' {words}; wait; sleep 0.2"
    return lab.popen(bench.CLIENT, ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_objects(child: subprocess.Popen[str], *sizes: str) -> None:
    said, hashed = child.communicate(timeout=60)
    assert sorted(line.split()[0] for line in hashed.splitlines()) == sorted(digest(size_of(size)) for size in sizes), (
        hashed
    )
    assert said.split() == ["1", *["0"] * (len(sizes) - 1)], "one connection"


def test_answers_of_http_go_on_and_what_their_clients_ask_next_the_other_gateway_answers(pair: RunningLab) -> None:
    sizes = ("10MB", "15MB", "20MB", "12MB", "18MB", "9MB", "16MB")
    running = [start_objects(pair, "http", *sizes) for _ in range(5)]
    time.sleep(1.0)
    bench.order(pair)
    told = bench.said(pair, bench.GATEWAY)
    assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
    time.sleep(1.0)
    pair.kill(bench.GATEWAY, SIGTERM)
    time.sleep(1.0)
    pair.start(bench.GATEWAY)
    pair.wait_ready(bench.GATEWAY)
    bench.wait_for_sibling(pair)
    bench.order(pair, back=True)
    for child in running:
        check_objects(child, *sizes)


def test_connections_that_their_clients_have_reset_are_not_waited_for(pair: RunningLab) -> None:
    request = b"GET /headers HTTP/1.1\r\nHost: http.apps.example\r\n\r\n"
    for _ in range(20):
        client = pair.socket(bench.CLIENT)
        client.connect((bench.vip(pair, "http"), 80))
        client.sendall(request)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        # What the stack has not acknowledged yet the reset stands behind.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(request)
        client.close()
    bench.order(pair)
    assert bench.said(pair, bench.GATEWAY)["stay"] == 0
    bench.order(pair, back=True)


def parked(lab: RunningLab, gateway: str) -> int:
    found: int = lab.status(gateway)["fast_path"]["parked"]
    return found


def test_connections_of_http_between_two_requests_move_though_they_have_no_server(pair: RunningLab) -> None:
    kept = Kept(pair, 100, 3)
    bench.order(pair)
    time.sleep(1.0)
    told = bench.said(pair, bench.GATEWAY)
    assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
    assert parked(pair, bench.GATEWAY) >= 103
    kept.ask()
    # Clients ask whether somebody is there, each second.
    time.sleep(4.0)
    kept.ask()
    pair.kill(bench.GATEWAY, SIGTERM)
    time.sleep(1.0)
    kept.ask()
    pair.start(bench.GATEWAY)
    pair.wait_ready(bench.GATEWAY)
    bench.wait_for_sibling(pair)
    bench.order(pair, back=True)
    assert parked(pair, bench.SIBLING) >= 103
    kept.ask()
    pair.kill(bench.SIBLING, SIGTERM)
    pair.start(bench.SIBLING)
    pair.wait_ready(bench.SIBLING)
    bench.wait_for_sibling(pair)
    kept.ask()
    kept.end()


def test_new_connections_begin_at_the_sibling_and_what_was_idle_goes_on(pair: RunningLab) -> None:
    clients = bench.Clients(pair, "nat", 20, 0)
    bench.order(pair)
    said = traffic.curl_json(pair, bench.CLIENT, f"http://{traffic.endpoint(bench.vip(pair, 'nat'), 80)}/headers")
    pools = pair.topology.nodes[bench.SIBLING].snat_pools
    assert said["client"] in {str(address) for pool in pools for address in pool}
    assert clients.ask()["silent"] == 0
    bench.order(pair, back=True)
    assert clients.ask()["silent"] == 0
    clients.stop()


def test_a_drain_that_cannot_begin_says_why_and_changes_nothing(
    pair: RunningLab, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.kill(bench.SIBLING)
    try:
        deadline = time.monotonic() + 10
        while any(each["peer"] == bench.SIBLING and each["usable"] for each in pair.status(bench.GATEWAY)["sessions"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert drain(bench.GATEWAY, bench.SIBLING, False, 20, None, pair.name) == 1
        assert "there is no session with gw-b" in capsys.readouterr().err
        assert read_orders(orders_file(pair.file)) == {}
        vip = traffic.endpoint(bench.vip(pair, "nat"), 80)
        assert traffic.curl_json(pair, bench.CLIENT, f"http://{vip}/headers")["client"]
    finally:
        pair.start(bench.SIBLING)
        pair.wait_ready(bench.SIBLING)
        bench.wait_for_sibling(pair)


def test_of_two_drains_at_once_one_is_refused_and_says_why(pair: RunningLab) -> None:
    orders = orders_file(pair.file)
    bench.order(pair)
    try:
        with pytest.raises(BadOrder, match=f"{bench.GATEWAY} is drained itself"):
            drain(bench.SIBLING, bench.GATEWAY, False, 20, None, pair.name)
        assert set(read_orders(orders)) == {bench.GATEWAY}
        # As on a machine of its own, which does not have the orders of another one.
        write_order(orders, bench.SIBLING, Order(bench.GATEWAY))
        deadline = time.monotonic() + 20
        while not (problem := bench.said(pair, bench.SIBLING)["problem"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert problem == f"it serves the flows of {bench.GATEWAY}: undrain that one first"
        write_order(orders, bench.SIBLING, None)
        assert drain(bench.GATEWAY, None, False, 20, None, pair.name) == 0, "it is, already"
    finally:
        write_order(orders, bench.SIBLING, None)
        bench.order(pair, back=True)


def source(lab: RunningLab, mode: str) -> str | None:
    """The address that a server sees a new connection come from; None: there is no connection."""
    vip = traffic.endpoint(bench.vip(lab, mode), 80)
    argv = ["curl", "-s", "--max-time", "1", f"http://{vip}/headers"]
    done = lab.exec(bench.CLIENT, argv, check=False)
    return None if done.returncode else str(json.loads(done.stdout)["client"])


@pytest.mark.parametrize("mode", ["nat", "fast-path"])
def test_a_gateway_whose_sibling_dies_serves_again_what_it_still_knows_and_leaves_when_that_is_back(
    pair: RunningLab, mode: str
) -> None:
    own = {str(address) for pool in pair.topology.nodes[bench.GATEWAY].snat_pools for address in pool}
    clients = bench.Clients(pair, mode, 40, 20)
    bench.order(pair)
    pair.kill(bench.SIBLING)
    died = time.monotonic()
    try:
        while source(pair, mode) not in own:
            assert time.monotonic() - died < 15, "new connections"
        assert clients.ask()["silent"] == 0
        while (said := bench.said(pair, bench.GATEWAY))["state"] != "home" or not said["problem"]:
            assert time.monotonic() - died < 30, said
            time.sleep(0.1)
        found = clients.mark()
        assert (found["live"], found["failed"]) == (40, []), "this gateway had not forgotten them"
    finally:
        pair.start(bench.SIBLING)
        pair.wait_ready(bench.SIBLING)
        bench.wait_for_sibling(pair)
    while bench.said(pair, bench.GATEWAY)["state"] != "away":
        assert time.monotonic() - died < 60
        time.sleep(0.1)
    bench.order(pair, back=True)
    assert clients.ask()["silent"] == 0
    clients.stop()


def test_a_sibling_that_starts_again_at_once_is_told_all_flows_once_more(pair: RunningLab) -> None:
    clients = [bench.Clients(pair, mode, 40, 20) for mode in ("nat", "fast-path")]
    bench.order(pair)
    pair.kill(bench.SIBLING)
    pair.start(bench.SIBLING)
    pair.wait_ready(bench.SIBLING)
    deadline = time.monotonic() + 40
    while bench.said(pair, bench.GATEWAY)["state"] != "away" or bench.said(pair, bench.SIBLING)["hosted"] < 80:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    # What was under way is said again meanwhile.
    time.sleep(2.0)
    assert [each.ask()["silent"] for each in clients] == [0, 0]
    found = [each.mark() for each in clients]
    assert [(each["live"], each["failed"]) for each in found] == [(40, []), (40, [])]
    bench.order(pair, back=True)
    for each in clients:
        each.stop()


def test_a_sibling_that_is_silent_in_the_middle_of_a_drain_gets_nothing(
    pair: RunningLab, capsys: pytest.CaptureFixture[str]
) -> None:
    clients = bench.Clients(pair, "fast-path", 40, 20)
    os.kill(pair.nodes[bench.SIBLING], SIGSTOP)
    try:
        assert drain(bench.GATEWAY, bench.SIBLING, False, 40, None, pair.name) == 1
        said = capsys.readouterr().err
        assert any(f"{words} {bench.SIBLING}" in said for words in ("cannot be drained:", "no session with")), said
        assert clients.ask()["silent"] == 0
        assert read_orders(orders_file(pair.file)) == {}
    finally:
        os.kill(pair.nodes[bench.SIBLING], SIGCONT)
        bench.wait_for_sibling(pair)
    bench.order(pair)
    bench.order(pair, back=True)
    assert clients.mark()["failed"] == []
    clients.stop()


def test_with_losses_on_all_links_flows_are_told_and_downloads_whole(tmp_path: Path) -> None:
    sizes = ("2MB", "3MB", "2MB")
    with bench.running(tmp_path, "drainloss", bench.document("drainloss"), direct=False) as lab:
        for middle in ("mid-1", "mid-2"):
            for end in (bench.EDGE, bench.GATEWAY, bench.SIBLING):
                lab.impair(end, middle, Impairment(loss=0.01))
        # What the two tell each other goes this way: of some twenty pieces and answers hardly ever all arrive.
        lab.impair(bench.GATEWAY, bench.SIBLING, Impairment(loss=0.25))
        clients = bench.Clients(lab, "fast-path", CONNECTIONS, 0)
        modes = tuple(bench.MODES)
        running = [start_objects(lab, mode, *sizes, rate="1M") for mode in modes]
        time.sleep(0.5)
        bench.order(lab)
        told = bench.said(lab, bench.GATEWAY)
        assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
        assert told["flows"] >= CONNECTIONS
        assert told["again"] > 0, "pieces, or their answers, were lost"
        assert clients.ask()["silent"] == 0
        bench.order(lab, back=True)
        assert clients.ask()["silent"] == 0
        for child in running:
            check_objects(child, *sizes)
        clients.stop()


def with_both_families_and_shards(name: str) -> dict[str, Any]:
    document = bench.document(name)
    nodes, networks = document["nodes"], document["lab"]["networks"]
    for each in nodes.values():
        each["shards"] = 2
    nodes[bench.EDGE]["vip_pools"].append("fd91:1::1:0/112")
    nodes[bench.EDGE]["serves"].append("fd91:1::/64")
    nodes[bench.GATEWAY]["snat_pools"].append("fd93::1:0/126")
    nodes[bench.SIBLING]["snat_pools"].append("fd93::2:0/126")
    for each in document["applications"].values():
        each["targets"].append({"address": "fd93::10"})
    for network, prefix, addresses in (
        ("clients", "fd91:1::", {bench.EDGE: "2", bench.CLIENT: "10"}),
        ("origins", "fd93::", {bench.GATEWAY: "2", bench.SIBLING: "3", bench.SERVER: "10"}),
    ):
        networks[network]["prefixes"].append(f"{prefix}/64")
        for member, host in addresses.items():
            networks[network]["members"][member].append(f"{prefix}{host}")
    return document


def test_of_both_ip_versions_and_each_shard_downloads_go_on(tmp_path: Path) -> None:
    sizes = ("10MB", "12MB", "9MB", "11MB", "10MB", "8MB")
    with bench.running(tmp_path, "drain6", with_both_families_and_shards("drain6")) as lab:
        modes = ("fast-path", "spliced", "http", "http")
        running = [start_objects(lab, mode, *sizes, version=version) for version in (4, 6) for mode in modes]
        kept = [Kept(lab, 10, 1, version) for version in (4, 6)]
        time.sleep(1.0)
        bench.order(lab)
        told = bench.said(lab, bench.GATEWAY)
        assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
        lab.kill(bench.GATEWAY, SIGTERM)
        time.sleep(0.5)
        for each in kept:
            each.ask()
        lab.start(bench.GATEWAY)
        lab.wait_ready(bench.GATEWAY)
        bench.wait_for_sibling(lab)
        bench.order(lab, back=True)
        for each in kept:
            each.ask()
            each.end()
        for child in running:
            check_objects(child, *sizes)
