"""A content proxy is stopped, as for an upgrade, while it serves connections that moved there. Their clients notice
nothing."""

from __future__ import annotations

import http.client
import signal
import subprocess
import time
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from lab.origin import digest, size_of
from tests.netns import labs
from tests.netns.flags import FIN, RST, SYN, witness
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

CLIENTS, REQUESTS, PER_SECOND = 8, 150, 50
SMALL, LARGE = "3000", "40MB"
WAIT = 15.0
"""Seconds that a node may take to leave."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("leaving")
    found = document(directory)
    found["name"] = "leaving"
    with labs.running(found, directory) as running:
        labs.store(running, PROXY, *(f"{HOST}/cached/{size}" for size in (SMALL, LARGE)))
        yield running


@contextmanager
def stopped(lab: RunningLab) -> Iterator[float]:
    """The proxy has ended, which took so many seconds; it serves again afterwards."""
    began = time.monotonic()
    lab.kill(PROXY, signal.SIGTERM, wait=WAIT)
    yield time.monotonic() - began
    lab.start(PROXY)
    lab.wait_ready(PROXY)
    until(lambda: lab.status(PROXY)["content"]["answers"] == 2)
    vip, words = labs.vip(lab, "shop"), ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%header{cache-status}"]
    asked = [*words, "--resolve", f"*:80:{vip}", f"{HOST}/cached/{SMALL}"]
    until(lambda: lab.exec("client", asked).stdout.startswith(f"{PROXY}; hit"))


def test_clients_in_the_middle_of_their_requests_keep_their_connections(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    before = lab.status(GATEWAY)["transfers"]
    caught = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    url = ["-o", "/dev/null", f"{HOST}/cached/{SMALL}"]
    words = ["curl", "-sS", "--fail-early", "--fail", "--resolve", f"*:80:{labs.vip(lab, 'shop')}"]
    pace = ["--rate", f"{PER_SECOND}/s", "-w", "%{num_connects} %{http_code} %header{cache-status}\n"]
    with witness(lab) as seen:
        clients = [lab.popen("client", [*words, *pace, *url * REQUESTS], **caught, text=True) for _ in range(CLIENTS)]
        time.sleep(REQUESTS / PER_SECOND / 3)
        with stopped(lab) as took:
            after = lab.status(GATEWAY)["transfers"]
            told = [child.communicate(timeout=60) for child in clients]
    codes = [child.returncode for child in clients]
    assert codes == [0] * CLIENTS, told
    by_proxy = []
    for said, _ in told:
        lines = [line.split() for line in said.splitlines()]
        assert [line[:2] for line in lines] == [["1", "200"]] + [["0", "200"]] * (REQUESTS - 1)
        by_proxy.append(sum(line[2:4] == [f"{PROXY};", "hit;"] for line in lines))
        assert 0 < by_proxy[-1] < REQUESTS, "it was stopped in the middle"
    assert not any(flags & RST for inward, flags in seen if inward)
    assert after["returned"] - before["returned"] == CLIENTS
    refused = {why: count - before["refused"].get(why, 0) for why, count in after["refused"].items()}
    assert refused["draining"] >= CLIENTS, "who came back did not wait for the proxy again"
    assert after["requests"] - before["requests"] <= 3 * CLIENTS
    assert took < WAIT / 3
    figure(
        f"A proxy is stopped while {CLIENTS} clients ask {PER_SECOND} times a second: failed requests; by the proxy; "
        "seconds until it had gone; not offered",
        f"0 of {CLIENTS * REQUESTS}; {sum(by_proxy)}; {took:.2f}; {refused}",
    )


@pytest.mark.parametrize("part", [b"", b"GET /"])
def test_clients_between_two_requests_keep_their_connections(lab: RunningLab, part: bytes) -> None:
    """Also those who have sent a part of the next one."""
    before = lab.status(GATEWAY)["transfers"]
    opened = [lab.socket("client") for _ in range(CLIENTS)]

    def answered(index: int, begun: bytes = b"") -> str:
        opened[index].sendall(asking(SMALL).removeprefix(begun))
        with http.client.HTTPResponse(opened[index]) as response:
            response.begin()
            assert (response.status, len(response.read())) == (200, int(SMALL))
            return response.getheader("Cache-Status") or ""

    for index, each in enumerate(opened):
        each.settimeout(10)
        each.connect((labs.vip(lab, "shop"), 80))
        assert answered(index).startswith(f"{PROXY}; hit")
        each.sendall(part)
    time.sleep(0.1)
    with witness(lab) as seen, stopped(lab) as took:
        assert took < WAIT / 3, "it need not wait for them"
        now = lab.status(GATEWAY)["transfers"]
        assert now["returned"] - before["returned"] == CLIENTS
        assert now["events"].get("proxy_gone", 0) == before["events"].get("proxy_gone", 0)
        assert not any(flags & (SYN | FIN | RST) for _, flags in seen)
        assert [answered(index, part) for index in range(CLIENTS)] == [""] * CLIENTS
    for each in opened:
        each.close()


def test_an_answer_that_takes_longer_than_the_proxy_stays_is_finished_by_the_gateway(lab: RunningLab) -> None:
    """Its clients take nothing meanwhile, as who pauses a film."""
    before, opened = resumed(lab), [lab.socket("client") for _ in range(3)]
    for each in opened:
        each.settimeout(20)
        each.connect((labs.vip(lab, "shop"), 80))
        each.sendall(asking(LARGE))
    answers = [http.client.HTTPResponse(each) for each in opened]
    hashes = [sha256() for _ in opened]
    for answer, hashed in zip(answers, hashes, strict=True):
        answer.begin()
        assert (answer.getheader("Cache-Status") or "").startswith(f"{PROXY}; hit")
        hashed.update(answer.read(1_000_000))
    with stopped(lab) as took:
        assert took > WAIT / 3
        for answer, hashed in zip(answers, hashes, strict=True):
            hashed.update(answer.read())
        assert [hashed.hexdigest() for hashed in hashes] == [digest(size_of(LARGE))] * len(opened)
        for each in opened:
            each.sendall(asking(SMALL))
            with http.client.HTTPResponse(each) as answer:
                answer.begin()
                assert len(answer.read()) == int(SMALL)
        assert resumed(lab) == before + len(opened)
    for each in opened:
        each.close()


def asking(size: str) -> bytes:
    return f"GET /cached/{size} HTTP/1.1\r\nHost: {HOST.removeprefix('http://')}\r\n\r\n".encode()


def resumed(lab: RunningLab) -> int:
    return int(lab.status(GATEWAY)["transfers"]["events"].get("resumed", 0))
