"""A whole node as a process of its own, with the real core, on loopback addresses of this machine. Needs no root."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from braid import pki
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("dataplane._native", reason="the data plane is not built: make build")

TOPOLOGY = """
braid: 1
name: alone
zone: {name: apps.example}
regions:
  edge: {role: edge, place: here}
  mid-a: {role: intermediate, place: here}
  mid-b: {role: intermediate, place: here}
  gw: {role: gateway, place: here}
nodes:
  edge-1: {region: edge, underlay: [198.51.100.1], vip_pools: [192.0.2.0/28]}
  mid-a-1: {region: mid-a, underlay: [127.0.0.21], port: 17400, status: "127.0.0.21:17480"}
  mid-b-1: {region: mid-b, underlay: [198.51.100.3]}
  gw-1: {region: gw, underlay: [198.51.100.4], snat_pools: [192.0.2.16/28]}
applications:
  web: {hostnames: [web.apps.example], ports: [tcp/80], targets: [{address: 203.0.113.1}], gateways: [gw]}
"""


@dataclass
class Running:
    process: subprocess.Popen[str]
    file: Path
    pki: Path
    log: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.21:17480{path}", timeout=5, trust_env=False)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/status").json()
        return answer

    def wait_for(self, condition: Callable[[], bool], seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


def command(directory: Path, *more: str) -> list[str]:
    file, keys = str(directory / "braid.yaml"), str(directory / "pki")
    return [sys.executable, "-m", "braid", "run", "mid-a-1", "-t", file, "--pki", keys, "--log-format", "json", *more]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    file = tmp_path / "braid.yaml"
    file.write_text(TOPOLOGY)
    pki.init(load(file), tmp_path / "pki", datetime.now(UTC))
    return tmp_path


@pytest.fixture
def node(directory: Path) -> Iterator[Running]:
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command(directory), stdout=out, stderr=out, text=True)
    running = Running(process, directory / "braid.yaml", directory / "pki", log)
    try:
        running.wait_for(lambda: running.get("/livez").status_code == 200)
        yield running
    finally:
        process.kill()
        process.wait()


def test_a_node_lives_but_is_not_ready_without_neighbours(node: Running) -> None:
    answer = node.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["neighbour"]
    status = node.status()
    assert status["name"] == "mid-a-1"
    assert {neighbour["node"] for neighbour in status["neighbours"]} == {"edge-1", "gw-1"}
    assert status["topology"]["reload_error"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_told_to_stop_ends_with_zero(node: Running, number: signal.Signals) -> None:
    node.process.send_signal(number)
    assert node.process.wait(10) == 0
    log = node.log.read_text()
    assert "draining" in log
    assert "node stopped" in log


def test_a_node_keeps_the_last_good_topology_and_takes_the_next_good_one(node: Running) -> None:
    first = node.status()["topology"]["revision"]
    node.file.write_text("nonsense: [")
    node.process.send_signal(signal.SIGHUP)
    node.wait_for(lambda: node.status()["topology"]["reload_error"] is not None)
    assert node.status()["topology"]["revision"] == first
    node.file.write_text(TOPOLOGY.replace("198.51.100.4", "198.51.100.5"))
    node.wait_for(lambda: node.status()["topology"]["revision"] != first)
    status = node.status()
    assert status["topology"]["reload_error"] is None
    (gateway,) = [neighbour for neighbour in status["neighbours"] if neighbour["node"] == "gw-1"]
    assert gateway["address"] == "198.51.100.5:7400"


def test_a_node_that_was_stopped_for_a_while_goes_on(node: Running) -> None:
    node.process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    node.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert node.process.poll() is None
    assert node.get("/livez").status_code == 200


def test_its_own_revocation_is_said_and_shown(node: Running) -> None:
    pki.revoke(node.pki, "mid-a-1", datetime.now(UTC))
    node.wait_for(lambda: "certificate" in node.get("/readyz").json()["failing"])
    assert "own certificate is refused by peers" in node.log.read_text()


def test_a_second_node_on_the_same_address_ends_with_one(node: Running, directory: Path) -> None:
    done = subprocess.run(command(directory), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "another program uses UDP port 17400" in done.stderr


def test_a_node_that_is_not_in_the_file_is_bad_input(directory: Path) -> None:
    arguments = [word if word != "mid-a-1" else "mid-x-1" for word in command(directory)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "nodes.mid-x-1: no such node; name one of: edge-1, mid-a-1" in done.stderr


def test_revoked_credentials_are_bad_input(directory: Path) -> None:
    pki.revoke(directory / "pki", "mid-a-1", datetime.now(UTC))
    done = subprocess.run(command(directory), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "is refused: revoked; make new credentials: braid pki issue mid-a-1" in done.stderr
