"""A gateway is drained and stopped, and then its sibling dies: nobody has the connections any more, and clients hear so
as soon as somebody is there who can say it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from signal import SIGTERM
from typing import TYPE_CHECKING

import pytest

from bench import drain as bench
from tests.netns.labs import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

MODES = ("nat", "fast-path", "spliced", "http")
PATIENCE = 25.0
"""Seconds from the start of the gateway: it starts, misses its sibling for 3 s, and clients are asked within 15 s."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    with bench.running(tmp_path_factory.mktemp("drainalone"), "drainalone") as lab:
        yield lab


class Client:
    """Has asked for something, and only receives from then on."""

    def __init__(self, lab: RunningLab, mode: str, path: str) -> None:
        self.what = f"{mode} {path}"
        self.ended = ""
        self._socket = lab.socket(bench.CLIENT)
        self._socket.settimeout(20.0)
        self._socket.connect((bench.vip(lab, mode), 80))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {mode}.apps.example\r\n\r\n".encode())
        assert self._socket.recv(12) == b"HTTP/1.1 200"
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        try:
            while self._socket.recv(4096):
                time.sleep(0.0005)
            self.ended = "closed"
        except OSError as error:
            self.ended = error.strerror or str(error)


def test_of_both_that_are_gone_one_that_is_back_serves_and_tells_clients_that_theirs_are_lost(
    pair: RunningLab,
) -> None:
    clients = [Client(pair, mode, path) for mode in MODES for path in ("/object/1GB", "/headers")]
    bench.order(pair)
    # These have their state at the sibling alone.
    clients += [Client(pair, mode, "/object/1GB") for mode in MODES]
    pair.kill(bench.GATEWAY, SIGTERM)
    pair.kill(bench.SIBLING)
    try:
        time.sleep(3.0)
        assert [each.what for each in clients if each.ended] == [], "it may be cut off, and come back"
        pair.start(bench.GATEWAY)
        until(lambda: all(each.ended for each in clients), PATIENCE)
        assert {each.ended for each in clients} == {"Connection reset by peer"}
        until(lambda: bench.said(pair, bench.GATEWAY)["state"] == "home")
        clients += [Client(pair, mode, "/headers") for mode in MODES]
    finally:
        for each in clients:
            each.close()
        for node in (bench.GATEWAY, bench.SIBLING):
            if not pair.alive(node):
                pair.start(node)
                pair.wait_ready(node)
        bench.wait_for_sibling(pair)
        bench.order(pair, back=True)
