"""A gateway is drained while a content proxy has connections of its clients, and the proxy ends, before or after: the
gateway that serves the clients by then goes on."""

from __future__ import annotations

import http.client
import subprocess
import threading
import time
from contextlib import contextmanager
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import pytest

from bench import drain as bench
from content.advertise import EVERY
from lab.origin import digest, size_of
from tests.netns.labs import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

NAME = "draingone"
PROXY, ADDRESS = "cache-1", "10.91.1.80"
HOST = "shop.apps.example"
SMALL, LARGE = "1000", "60MB"
AT_ONCE, RATE = 4, "8M"


def document(directory: Path) -> dict[str, Any]:
    found = bench.document(NAME)
    found["applications"] = {
        "shop": {
            "hostnames": [HOST],
            "ports": ["tcp/80"],
            "targets": [{"address": "10.93.0.10"}],
            "gateways": ["gw"],
            "copies": 1,
            "mode": "proxy",
            "proxy": {"kind": "http"},
        }
    }
    found["regions"]["cache"] = {"role": "content"}
    found["nodes"][PROXY] = {
        "region": "cache",
        "underlay": ["10.90.0.51"],
        "content": {"listen": [ADDRESS], "directory": str(directory / "cache"), "applications": ["shop"]},
    }
    found["lab"]["networks"]["clients"]["members"][PROXY] = [ADDRESS]
    found["transfers"] = [{"application": "shop", "proxies": [PROXY], "path": "/cached/"}]
    return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp(NAME)
    with bench.running(directory, NAME, document(directory)) as lab:
        yield lab


@contextmanager
def stored(lab: RunningLab) -> Iterator[None]:
    """The proxy has both, and both gateways know; afterwards all nodes serve as at first."""
    for node in (bench.GATEWAY, PROXY):
        if not lab.alive(node):
            lab.start(node)
    lab.wait_ready(bench.GATEWAY)
    lab.wait_ready(PROXY)
    words = ["curl", "-sS", "--fail", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "-o", "/dev/null"]
    for size in (SMALL, LARGE):
        lab.exec(bench.CLIENT, [*words, "--connect-to", f"::{ADDRESS}:80", f"http://{HOST}/cached/{size}"], timeout=60)
    until(lambda: lab.status(PROXY)["content"]["answers"] == 2)

    def reached() -> bool:
        up = {(each["peer"], each["adjacent"]) for each in lab.status(PROXY)["sessions"] if each["usable"]}
        return {(bench.GATEWAY, True), (bench.SIBLING, True), (bench.EDGE, False)} <= up

    until(reached)
    time.sleep(3 * EVERY)
    try:
        yield
    finally:
        if not lab.alive(bench.GATEWAY):
            lab.start(bench.GATEWAY)
        lab.wait_ready(bench.GATEWAY)
        bench.wait_for_sibling(lab)
        bench.order(lab, back=True)


def events(lab: RunningLab, gateway: str) -> dict[str, int]:
    found: dict[str, int] = lab.status(gateway)["transfers"]["events"]
    return found


def downloads(lab: RunningLab, tmp_path: Path, interrupt: Callable[[], None]) -> list[tuple[int, str, str]]:
    """Exit code, checksum, and what curl said, of each: a large answer of the proxy, interrupted in its middle, and
    two small ones, on one connection."""
    files = [tmp_path / f"{number}" for number in range(AT_ONCE)]
    begin = ["curl", "-sS", "--fail-early", "--limit-rate", RATE, "--max-time", "60", "-w", "%{num_connects} "]
    place = ["--resolve", f"*:80:{bench.vip(lab, 'shop')}"]
    next_ = [word for path in ("headers", f"cached/{SMALL}") for word in ("-o", "/dev/null", f"http://{HOST}/{path}")]
    children = [
        lab.popen(
            bench.CLIENT, [*begin, *place, "-o", str(file), f"http://{HOST}/cached/{LARGE}", *next_],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for file in files
    ]  # fmt: skip
    try:
        until(lambda: all(file.exists() and file.stat().st_size > 4_000_000 for file in files))
        until(lambda: lab.status(PROXY)["transfers"]["open"] > 0)
        interrupt()
        found = []
        for child, file in zip(children, files, strict=True):
            told, _ = child.communicate(timeout=90)
            summed = subprocess.run(["sha256sum", str(file)], capture_output=True, text=True, check=True).stdout
            found.append((child.returncode, summed.split()[0], told))
        return found
    finally:
        for child in children:
            child.kill()


def killed_after(lab: RunningLab) -> None:
    """The gateway that gave the proxy its connections is not there any more."""
    bench.order(lab)
    lab.kill(bench.GATEWAY, SIGTERM)
    lab.kill(PROXY)


def killed_before(lab: RunningLab) -> None:
    lab.kill(PROXY)
    bench.order(lab)


def killed_meanwhile(lab: RunningLab) -> None:
    drain = threading.Thread(target=bench.order, args=(lab,))
    drain.start()
    time.sleep(0.3)
    lab.kill(PROXY)
    drain.join()


@pytest.mark.parametrize("interrupt", [killed_after, killed_before, killed_meanwhile])
def test_answers_of_a_proxy_that_is_killed_go_on_from_the_gateway_that_serves_the_clients(
    pair: RunningLab, tmp_path: Path, interrupt: Callable[[RunningLab], None]
) -> None:
    with stored(pair):
        done = downloads(pair, tmp_path, lambda: interrupt(pair))
        said = events(pair, bench.SIBLING)
    assert done == [(0, digest(size_of(LARGE)), "1 0 0 ")] * AT_ONCE, said


def test_clients_that_ask_all_the_time_notice_no_drain_and_no_homecoming(pair: RunningLab) -> None:
    """Each of them is now the proxy's, now the gateway's that serves it; the drained gateway lives on and meets what it
    had given away itself."""
    stop = threading.Event()
    found: list[int | str] = []

    def ask_and_ask(opened: socket.socket, turn: int) -> None:
        answers = 0
        try:
            while not stop.is_set():
                path = f"/cached/{SMALL}" if turn % 5 in (0, 1, 3) else "/headers"
                opened.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                with http.client.HTTPResponse(opened) as response:
                    response.begin()
                    assert response.status == 200
                    response.read()
                answers, turn = answers + 1, turn + 1
                time.sleep(0.05)
            found.append(answers)
        except (OSError, http.client.HTTPException) as error:
            found.append(repr(error))

    with stored(pair):
        opened = [pair.socket(bench.CLIENT) for _ in range(6)]
        for each in opened:
            each.settimeout(10)
            each.connect((bench.vip(pair, "shop"), 80))
        before = pair.status(bench.GATEWAY)["transfers"]["moved"]
        threads = [threading.Thread(target=ask_and_ask, args=(each, turn)) for turn, each in enumerate(opened)]
        for thread in threads:
            thread.start()
        for back in (False, True) * 3:
            time.sleep(1.0)
            bench.order(pair, back=back)
        # A request that nobody decides about is given up after two seconds.
        time.sleep(3.0)
        stop.set()
        for thread in threads:
            thread.join()
        moved = pair.status(bench.GATEWAY)["transfers"]["moved"] - before
    for each in opened:
        each.close()
    assert [type(each) for each in found] == [int] * 6, found
    assert moved > 6


def test_what_a_proxy_gives_back_is_taken_by_the_gateway_that_serves_the_clients(pair: RunningLab) -> None:
    opened = [pair.socket(bench.CLIENT) for _ in range(AT_ONCE)]

    def ask(index: int) -> str:
        opened[index].sendall(f"GET /cached/{SMALL} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        with http.client.HTTPResponse(opened[index]) as response:
            response.begin()
            assert (response.status, len(response.read())) == (200, int(SMALL))
            return response.getheader("Cache-Status") or ""

    with stored(pair):
        for index, each in enumerate(opened):
            each.settimeout(10)
            each.connect((bench.vip(pair, "shop"), 80))
            until(lambda index=index: ask(index).startswith(f"{PROXY}; hit"))  # type: ignore[misc]
        bench.order(pair)
        pair.kill(bench.GATEWAY, SIGTERM)
        before = pair.status(bench.SIBLING)["transfers"]["returned"]
        pair.kill(PROXY, SIGTERM, wait=15.0)
        assert pair.status(bench.SIBLING)["transfers"]["returned"] == before + AT_ONCE
        assert [ask(index) for index in range(AT_ONCE)] == [""] * AT_ONCE
    # And home again.
    assert [ask(index) for index in range(AT_ONCE)] == [""] * AT_ONCE
    for each in opened:
        each.close()
