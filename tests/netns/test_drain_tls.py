"""Connections that a drain cannot move end in good order: no request of real clients fails, and what stays says why."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import pytest

from bench import drain as bench
from braid.commands_drain import drain
from tests.gateway.certificates import write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

HOST = "secure.apps.example"
REQUESTS = 500
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
GOAWAY = 7


def document(name: str) -> dict[str, Any]:
    found = bench.document(name)
    tls = {"certificates": [{"certificate": "secure.pem", "key": "secure.key"}]}
    found["applications"]["secure"] = {
        "hostnames": [HOST],
        "ports": ["tcp/443"],
        "targets": [{"address": "10.93.0.10", "port": 80}],
        "gateways": ["gw"],
        "copies": 1,
        "mode": "proxy",
        "proxy": {"kind": "http", "tls": tls},
    }
    return found


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[RunningLab]:
    write_certificate(tmp_path, "secure", HOST)
    with bench.running(tmp_path, "draintls", document("draintls")) as lab:
        yield lab


def curl(lab: RunningLab, *words: str) -> subprocess.Popen[str]:
    name = ["--cacert", str(lab.file.parent / "secure.pem"), "--resolve", f"{HOST}:443:{bench.vip(lab, 'secure')}"]
    argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\\n", *name, *words]
    return lab.popen(bench.CLIENT, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answered(child: subprocess.Popen[str]) -> tuple[Counter[str], int]:
    """Answers by status, and connections that were made."""
    said, wrong = child.communicate(timeout=60)
    assert (child.returncode, wrong) == (0, "")
    answers = [line.split() for line in said.splitlines()]
    return Counter(status for status, _ in answers), sum(int(connects) for _, connects in answers)


@contextmanager
def idle(lab: RunningLab, protocol: str) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(lab.file.parent / "secure.pem"))
    context.set_alpn_protocols([protocol])
    plain = lab.socket(bench.CLIENT)
    plain.settimeout(10)
    plain.connect((bench.vip(lab, "secure"), 443))
    with context.wrap_socket(plain, server_hostname=HOST) as client:
        assert client.selected_alpn_protocol() == protocol
        yield client


def test_requests_with_tls_go_on_and_their_connections_come_again_at_the_sibling(pair: RunningLab) -> None:
    urls = f"https://{HOST}/object/[20000-{20000 + REQUESTS - 1}]"
    running = [
        curl(pair, version, "--limit-rate", "2M", urls) for version in ("--http2", "--http1.1") for _ in range(2)
    ]
    with idle(pair, "http/1.1") as one, idle(pair, "h2") as two:
        one.sendall(f"GET /headers HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        got = b""
        while not got.endswith(b"}\n"):
            got += one.recv(65536)
        assert got.startswith(b"HTTP/1.1 200")
        two.sendall(PREFACE)
        time.sleep(1.0)
        bench.order(pair)
        told = bench.said(pair, bench.GATEWAY)
        assert told["stay_why"] in ({}, {"ending": 2}), "who does not close keeps nobody waiting"
        assert one.recv(65536) == b"", "the end, in TLS"
        frames = bytearray()
        while received := two.recv(65536):
            frames += received
        kinds = []
        while frames:
            kinds.append(frames[3])
            del frames[: 9 + int.from_bytes(frames[:3], "big")]
        assert kinds.count(GOAWAY) == 2
    pair.kill(bench.GATEWAY, SIGTERM)
    for child in running:
        answers, connections = answered(child)
        assert answers == {"200": REQUESTS}
        assert connections == 2
    pair.start(bench.GATEWAY)
    pair.wait_ready(bench.GATEWAY)
    bench.wait_for_sibling(pair)
    bench.order(pair, back=True)
    assert answered(curl(pair, f"https://{HOST}/headers")) == ({"200": 1}, 1)


def test_what_stays_says_why(pair: RunningLab, capsys: pytest.CaptureFixture[str]) -> None:
    # Or all of an answer waits at the client, which this gateway needs no stack for.
    pair.exec(bench.CLIENT, ["sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 131072"])
    slow = ("--limit-rate", "8M")
    plain = f"http://{bench.vip(pair, 'pooled')}/object/40MB"
    running = [curl(pair, *slow, f"https://{HOST}/object/40MB"), curl(pair, *slow, plain)]
    time.sleep(0.5)
    assert drain(bench.GATEWAY, bench.SIBLING, False, 1.5, None, pair.name) == 1
    said = capsys.readouterr().err
    assert "2 stay" in said
    assert "1 tls" in said
    assert "1 request" in said
    bench.order(pair)
    assert bench.said(pair, bench.GATEWAY)["stay"] == 0
    for child in running:
        assert answered(child) == ({"200": 1}, 1)
