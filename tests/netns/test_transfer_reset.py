"""Clients that reset their connection while it moves, and use its port again at once."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from lab.impairment import Impairment
from tests.netns import labs
from tests.netns.connections import reset
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

PORT = 46_000
ONE_WAY = 30.0
"""Milliseconds between gateway and proxy: it accepts after two of them, and says that it has begun after four."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    directory = tmp_path_factory.mktemp("reset")
    found = document(directory)
    found["name"] = "reset"
    with labs.running(found, directory) as running:
        labs.store(running, PROXY, f"{HOST}/cached/3MB")
        yield running


def ask(lab: RunningLab, path: str) -> socket.socket:
    opened = lab.socket("client")
    opened.settimeout(10)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("0.0.0.0", PORT))
    opened.connect((labs.vip(lab, "shop"), 80))
    opened.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST.removeprefix('http://')}\r\n\r\n".encode())
    return opened


@pytest.mark.parametrize("share", [1.0, 3.0], ids=["asked", "told_to_begin"])
def test_the_next_connection_of_the_same_port_is_served(lab: RunningLab, share: float) -> None:
    before = lab.status(GATEWAY)
    lab.impair(GATEWAY, PROXY, Impairment(delay_ms=ONE_WAY))
    try:
        for _ in range(5):
            opened = ask(lab, "/cached/3MB")
            time.sleep(share * ONE_WAY / 1000)
            reset(opened)
            with ask(lab, "/object/1000") as again:
                assert again.recv(12) == b"HTTP/1.1 200"
            time.sleep(0.3)
    finally:
        lab.impair(GATEWAY, PROXY, None)
    until(lambda: lab.status(GATEWAY)["transfers"]["requests"] == before["transfers"]["requests"] + 5)
    after = lab.status(GATEWAY)
    assert after["drops"].get("normal_refused", 0) == before["drops"].get("normal_refused", 0)
    until(lambda: lab.status(PROXY)["transfers"]["open"] == 0)


def test_the_next_connection_of_the_same_port_does_not_wait_for_the_move(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    """Who meets a socket of the one before has its SYN answered for that one, and says it again a second later."""
    lab.impair(GATEWAY, PROXY, Impairment(delay_ms=1.5 * ONE_WAY))
    took = []
    try:
        for turn in range(24):
            opened = ask(lab, "/cached/3MB")
            time.sleep((0.3, 1.0, 1.8)[turn % 3] * 1.5 * ONE_WAY / 1000)
            reset(opened)
            began = time.monotonic()
            with ask(lab, "/object/1000") as again:
                took.append(time.monotonic() - began)
                assert again.recv(12) == b"HTTP/1.1 200"
            time.sleep(0.3)
    finally:
        lab.impair(GATEWAY, PROXY, None)
    figure("A client resets while it moves, and connects from the same port: longest connect", f"{max(took):.3f} s")
    assert max(took) < 1.0
    until(lambda: lab.status(PROXY)["transfers"]["open"] == 0)
