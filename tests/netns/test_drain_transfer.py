"""A gateway whose clients a content proxy serves, too, is drained and comes back: each keeps its one connection."""

from __future__ import annotations

import http.client
import subprocess
import time
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import pytest

from bench import drain as bench
from lab.origin import digest, size_of
from tests.netns import labs
from tests.netns.labs import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

PROXY, ADDRESS = "cache-1", "10.91.1.80"
STORED = ("1000", "60MB")
APPLICATIONS = {"shop": {"kind": "http"}, "long": {"kind": "http", "splice_above": 100_000}}
"""With servers that all share, and with answers that go on in the data plane."""
BRIEF, IDLE = "brief", 5.0
"""An application whose connections may be idle for so many seconds."""


def document(directory: Path) -> dict[str, Any]:
    found = bench.document("draintransfer")
    for name, proxy in (APPLICATIONS | {BRIEF: {"kind": "http", "idle_timeout": IDLE}}).items():
        found["applications"][name] = {
            "hostnames": [f"{name}.apps.example"],
            "ports": ["tcp/80"],
            "targets": [{"address": "10.93.0.10"}],
            "gateways": ["gw"],
            "copies": 1,
            "mode": "proxy",
            "proxy": proxy,
        }
    found["regions"]["cache"] = {"role": "content"}
    found["nodes"][PROXY] = {
        "region": "cache",
        "underlay": ["10.90.0.51"],
        "content": {"listen": [ADDRESS], "directory": str(directory / "cache"), "applications": list(APPLICATIONS)},
    }
    found["lab"]["networks"]["clients"]["members"][PROXY] = [ADDRESS]
    found["transfers"] = [{"application": name, "proxies": [PROXY], "path": "/cached/"} for name in APPLICATIONS]
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("draintransfer")
    with bench.running(directory, "draintransfer", document(directory)) as lab:
        urls = (f"http://{name}.apps.example/cached/{size}" for name in APPLICATIONS for size in STORED)
        labs.store(lab, PROXY, *urls, client=bench.CLIENT)
        yield lab


class Client:
    """One connection, on which the proxy and the origin are asked."""

    def __init__(self, lab: RunningLab, application: str) -> None:
        self.host = f"{application}.apps.example"
        self._opened = lab.socket(bench.CLIENT)
        self._opened.settimeout(10)
        self._opened.connect((bench.vip(lab, application), 80))

    def ask(self, path: str) -> bool:
        """Whether it was the proxy that answered."""
        self._opened.sendall(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        with http.client.HTTPResponse(self._opened) as response:
            response.begin()
            assert response.status == 200, path
            body = response.read()
            if path.startswith("/cached/"):
                assert len(body) == int(path.rpartition("/")[2])
            status = response.getheader("Cache-Status") or ""
        return status.startswith(f"{PROXY}; hit")

    def ended(self) -> bool:
        """Waits until the other end has said that there is no more."""
        return self._opened.recv(1) == b""

    def close(self) -> None:
        self._opened.close()


def waiting(lab: RunningLab, gateway: str) -> int:
    (found,) = (each["open_waiting"] for each in lab.status(gateway)["proxies"] if each["application"] == BRIEF)
    return int(found)


@pytest.mark.parametrize("application", APPLICATIONS)
def test_clients_with_kept_connections_notice_nothing(pair: RunningLab, application: str) -> None:
    stored, other = "/cached/1000", "/headers"
    at_the_proxy = [Client(pair, application) for _ in range(20)]
    at_the_gateway = [Client(pair, application) for _ in range(20)]
    everybody = at_the_proxy + at_the_gateway

    def ask_all() -> None:
        """Who was at the proxy comes back for something else, and goes there again, and so does everybody."""
        for each in everybody:
            assert not each.ask(other)
            assert each.ask(stored)
        for each in at_the_gateway:
            assert not each.ask(other)

    ask_all()
    bench.order(pair)
    told = bench.said(pair, bench.GATEWAY)
    assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
    assert told["flows"] >= len(at_the_gateway)
    ask_all()
    # What came back from the proxy to this gateway goes on to the other one.
    until(lambda: bench.said(pair, bench.GATEWAY)["stay"] == 0)
    pair.kill(bench.GATEWAY, SIGTERM)
    time.sleep(1.0)
    for each in everybody:
        each.ask(other)
        each.ask(stored)
    pair.start(bench.GATEWAY)
    pair.wait_ready(bench.GATEWAY)
    bench.wait_for_sibling(pair)
    bench.order(pair, back=True)
    for each in everybody:
        each.ask(other)
        each.ask(stored)
    for each in everybody:
        each.close()


def test_downloads_from_the_proxy_go_on_and_what_their_clients_ask_next_is_served(pair: RunningLab) -> None:
    running = []
    for application in APPLICATIONS:
        urls = [
            f"http://{bench.vip(pair, application)}{path}" for path in ("/cached/60MB", "/object/9MB", "/cached/60MB")
        ]
        words = " ".join(f"-o >(sha256sum >&2) {url}" for url in urls)
        script = (
            f"curl -sS --fail --limit-rate 20M -H 'Host: {application}.apps.example' -w '%{{num_connects}} ' {words};"
            " wait; sleep 0.2"
        )
        running += [
            pair.popen(bench.CLIENT, ["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
    time.sleep(1.0)
    bench.order(pair)
    told = bench.said(pair, bench.GATEWAY)
    assert (told["refused"], told["opening"], told["stay"]) == (0, 0, 0), told
    time.sleep(3.0)
    bench.order(pair, back=True)
    for child in running:
        said, hashed = child.communicate(timeout=60)
        expected = sorted(digest(size_of(size)) for size in ("60MB", "9MB", "60MB"))
        assert sorted(line.split()[0] for line in hashed.splitlines()) == expected, hashed
        assert said.split() == ["1", "0", "0"], "one connection"


def test_what_waits_at_the_sibling_counts_there_and_ends_when_it_was_idle_for_too_long(pair: RunningLab) -> None:
    clients = [Client(pair, BRIEF) for _ in range(5)]
    for each in clients:
        each.ask("/headers")
    asked = time.monotonic()
    bench.order(pair)
    assert bench.said(pair, bench.GATEWAY)["stay"] == 0
    until(lambda: waiting(pair, bench.SIBLING) == len(clients), 3.0)
    assert waiting(pair, bench.GATEWAY) == 0, "they are the other one's"
    assert all(each.ended() for each in clients)
    assert IDLE - 0.5 < time.monotonic() - asked < IDLE + 5.0
    until(lambda: waiting(pair, bench.SIBLING) == 0)
    for each in clients:
        each.close()
    bench.order(pair, back=True)
