"""Rows of the routing table at work: what they have a content proxy serve, which proxy, and of which connections."""

from __future__ import annotations

import json
import os
import signal
import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from content.advertise import EVERY
from lab.origin import digest, size_of
from tests.netns import labs
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

OTHER, EDGE = "cache-fra-2", "edge-fra-1"
ROWS = [
    {
        "application": "shop",
        "proxies": [PROXY, OTHER],
        "policy": "least_connections",
        "path": "/object/9MB",
        "mode": "serve",
    },
    {"application": "shop", "proxies": [OTHER], "path": "/object/4kB", "mode": "serve"},
    {"application": "shop", "proxies": [PROXY], "path": "/object/", "mode": "serve"},
    {"application": "shop", "proxies": [PROXY], "path": "/headers", "mode": "serve"},
    {
        "application": "shop",
        "proxies": [PROXY],
        "path": "/cached/77",
        "mode": "serve",
        "connection": {"least_requests": 3, "least_sent_kb": 9000, "most_received_kb": 2, "least_window_kb": 10},
    },
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("table")
    found = document(directory)
    found["name"] = "table"
    found["transfers"] = ROWS
    found["applications"]["shop"]["proxy"]["splice_above"] = 1_000_000
    found["nodes"][OTHER] = deepcopy(found["nodes"][PROXY]) | {"underlay": ["10.90.0.52", "fd90::52"]}
    found["nodes"][OTHER]["content"] |= {"listen": ["10.91.1.81"], "directory": str(directory / "other")}
    found["lab"]["networks"]["clients-fra"]["members"][OTHER] = ["10.91.1.81", "fd91:1::81"]
    with labs.running(found, directory) as running:
        until(lambda: curl(running, "/")[0]["code"] == 200)
        time.sleep(3 * EVERY)
        yield running


def curl(lab: RunningLab, *requests: str, directory: Path | None = None) -> list[dict[str, Any]]:
    """Requests one after the other on one connection: a path, and before it words for curl. Bodies go to files with
    their numbers."""
    told = '{"code": %{http_code}, "connects": %{num_connects}, "status": "%header{cache-status}"}\\n'
    words = []
    for number, request in enumerate(requests):
        *more, path = request.split()
        out = os.devnull if directory is None else str(directory / str(number))
        words += ["--next"] * bool(number) + ["-sS", "-4", "-m", "20", *more, "-o", out, "-w", told, f"{HOST}{path}"]
    done = lab.exec("client", ["curl", *words], timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def counted(lab: RunningLab, before: dict[str, Any], *words: str) -> list[int]:
    after = lab.status(GATEWAY)["transfers"]
    return [after[word] - before[word] for word in words]


def test_a_proxy_that_is_to_serve_all_asks_the_origin_itself_and_keeps_the_connection(
    lab: RunningLab, tmp_path: Path
) -> None:
    def unstored() -> int:
        return lab.status(PROXY)["transfers"]["events"].get("unstored", 0)  # type: ignore[no-any-return]

    before, stored = lab.status(GATEWAY)["transfers"], unstored()
    told = curl(lab, "/object/300kB", "/headers", "-X POST /object/7", "/", directory=tmp_path)
    assert [each["connects"] for each in told] == [1, 0, 0, 0], "one connection"
    assert [each["status"].partition(";")[0] for each in told] == [PROXY] * 3 + [""]
    assert "fwd=miss" in told[0]["status"]
    assert [each["code"] for each in told] == [200, 200, 501, 200]
    assert lab.exec("client", ["sha256sum", str(tmp_path / "0")]).stdout.split()[0] == digest(size_of("300kB"))
    heard = {name.lower(): value for name, value in json.loads((tmp_path / "1").read_text())["headers"].items()}
    client = lab.exec("client", ["ip", "-4", "-br", "address"]).stdout
    assert heard["x-forwarded-for"].partition(",")[0] in client, "the origin hears who asks"
    assert PROXY in heard["via"]
    assert (tmp_path / "3").read_text() == "origin-1\n"
    assert counted(lab, before, "requests", "moved", "returned") == [1, 1, 1]
    until(lambda: unstored() == stored + 1)


def test_what_a_proxy_cannot_do_is_not_offered(lab: RunningLab) -> None:
    before = lab.status(GATEWAY)["transfers"]
    (told,) = curl(lab, "-H Connection:Upgrade -H Upgrade:websocket /object/10")
    assert (told["code"], told["status"]) == (200, "")
    assert counted(lab, before, "requests") == [0]


def test_a_proxy_that_is_silent_leaves_all_to_the_gateway(lab: RunningLab) -> None:
    pid = lab.nodes[PROXY]
    os.kill(pid, signal.SIGSTOP)
    try:
        told = curl(lab, "/object/10", "/headers")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [(each["code"], each["status"]) for each in told] == [(200, "")] * 2
    until(lambda: curl(lab, "/object/10")[0]["status"].startswith(PROXY))


def test_an_origin_out_of_the_proxys_reach_is_asked_by_the_gateway(lab: RunningLab) -> None:
    """It has no connection to it that would be kept yet."""
    addresses = [str(vip.address) for edge in (EDGE,) for vip in vip_for(lab.topology, edge, "shop")]
    before = lab.status(GATEWAY)["transfers"]
    for address in addresses:
        lab.exec(OTHER, ["ip", "route", "add", "unreachable", address])
    try:
        told = curl(lab, "/object/4kB", "/object/4kB")
        assert [each["connects"] for each in told] == [1, 0]
        assert [(each["code"], each["status"]) for each in told] == [(200, "")] * 2
        assert counted(lab, before, "moved", "returned") == [1, 1]
        assert lab.status(GATEWAY)["transfers"]["refused"]["content"] > before["refused"].get("content", 0)
    finally:
        for address in addresses:
            lab.exec(OTHER, ["ip", "route", "del", "unreachable", address])
    until(lambda: curl(lab, "/object/4kB")[0]["status"].startswith(OTHER))


def test_connections_spread_over_proxies_by_how_many_each_has(lab: RunningLab) -> None:
    words = ["curl", "-sS", "--fail", "-4", "--limit-rate", "1M", "-o", os.devnull, f"{HOST}/object/9MB"]
    running = []
    try:
        for number in range(4):
            running.append(lab.popen("client", words))
            until(lambda: sum(had(lab, name) for name in (PROXY, OTHER)) == number + 1)  # noqa: B023
            assert abs(had(lab, PROXY) - had(lab, OTHER)) <= 1
        assert (had(lab, PROXY), had(lab, OTHER)) == (2, 2)
    finally:
        for child in running:
            child.kill()


def had(lab: RunningLab, proxy: str) -> int:
    """Connections of that proxy, by the gateway."""
    flows = lab.status(GATEWAY, "/flows?limit=100")["flows"]
    return sum(flow["target"] == proxy and flow["state"] == "moved" for flow in flows)


def test_a_row_may_want_a_connection_that_has_come_far(lab: RunningLab) -> None:
    """The large answer is the data plane's: who counts has not seen its bytes."""
    before = lab.status(GATEWAY)["transfers"]
    young = curl(lab, "/cached/77", "/cached/77", "/cached/77")
    assert [each["status"] for each in young] == ["", "", ""], "nothing was sent to speak of"
    assert counted(lab, before, "requests") == [0]
    assert curl(lab, "/cached/9MB", "/cached/77")[1]["status"] == "", "the second request"
    grown = curl(lab, "/cached/9MB", "/", "/cached/77")
    assert [each["connects"] for each in grown] == [1, 0, 0]
    assert [each["status"].partition(";")[0] for each in grown] == ["", "", PROXY]
    talkative = curl(lab, "/cached/9MB", f"-H X:{'x' * 3000} /", "/cached/77")
    assert talkative[2]["status"] == "", "the client has said too much"
