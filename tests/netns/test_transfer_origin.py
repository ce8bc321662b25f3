"""What a stock origin server logs of transfers, and clients' packets that come late."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from lab.impairment import Impairment
from lab.netns import socket_in
from lab.origin import chunks, size_of
from tests.netns import labs
from tests.netns.flags import ETH_P_ALL, RST, witness
from tests.netns.labs import until
from tests.netns.test_transfer import GATEWAY, HOST, PROXY, document
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab.running import RunningLab

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(not shutil.which(NGINX), reason="nginx, the stock origin server, is not installed"),
]

EDGE, SIZE, ORIGIN, ADDRESS = "edge-fra-1", "3MB", "origin-2", "10.93.0.11"
CONFIGURATION = """
daemon off; user root; worker_processes 1; pid {0}/nginx.pid; error_log {0}/error.log info;
events {{ worker_connections 64; }}
http {{
    access_log {0}/access.log; client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
    uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; keepalive_timeout 75;
    server {{ listen {1}; root {0}/pages; location /cached/ {{ add_header Cache-Control max-age=3600; }} }}
}}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stock")


@pytest.fixture(scope="module")
def lab(directory: Path) -> Iterator[RunningLab]:
    found = document(directory)
    shop = found["applications"]["shop"]
    # One copy of what the client sends, two of what nodes say: the latter are then ahead on a path that is slow.
    shop |= {"copies": 1, "targets": [{"address": ADDRESS}]}
    # A check of its health that ends before it has asked anything is a line in the server's log.
    del shop["check"]
    found["applications"]["solo"] = labs.demo("stock")["applications"]["solo"]
    found["name"] = "stock"
    pages = directory / "pages" / "cached"
    pages.mkdir(parents=True)
    (pages.parent / "index.html").write_text("nginx\n")
    (pages / SIZE).write_bytes(b"".join(chunks(size_of(SIZE))))
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(directory, f"{ADDRESS}:80"))
    directory.chmod(0o755)
    with labs.running(found, directory) as running:
        running.kill(ORIGIN)
        running.popen(ORIGIN, [NGINX, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        until(lambda: "nginx" in running.exec("client", ["curl", "-sS", f"{HOST}/"], check=False).stdout)
        labs.store(running, PROXY, f"{HOST}/cached/{SIZE}")
        yield running


def test_the_origins_log_is_clean(lab: RunningLab, directory: Path, figure: Callable[[str, object], None]) -> None:
    access, error = directory / "access.log", directory / "error.log"
    before = len(access.read_text().splitlines()), len(error.read_text().splitlines())
    moved = lab.status(GATEWAY)["transfers"]
    out = ["-o", "/dev/null", "-w", "%{num_connects} %{http_code} %header{cache-status}\\n"]
    words = [word for path in ("/", f"/cached/{SIZE}", "/") for word in (*out, f"{HOST}{path}")]
    told = lab.exec("client", ["curl", "-sS", "--fail", "-4", *words], timeout=60).stdout.splitlines()
    assert [line.split()[:2] for line in told] == [["1", "200"], ["0", "200"], ["0", "200"]]
    assert told[1].split()[2:4] == [f"{PROXY};", "hit;"]
    after = lab.status(GATEWAY)["transfers"]
    assert (after["moved"], after["returned"]) == (moved["moved"] + 1, moved["returned"] + 1)
    asked = access.read_text().splitlines()[before[0] :]
    assert [line.split('"')[1:3] for line in asked if "braid" not in line] == [["GET / HTTP/1.1", " 200 6 "]] * 2
    said = error.read_text().splitlines()[before[1] :]
    # The end of an idle connection in order is the only thing that it has to say.
    assert [line for line in said if "closed keepalive connection" not in line] == []
    figure("Transfer and return: what a stock origin logs", f"{asked} {said}")


def test_what_a_client_sent_before_its_connection_moved_goes_after_it(lab: RunningLab, tmp_path: Path) -> None:
    vip = str(vip_for(lab.topology, EDGE, "shop")[0].address)
    first = next(
        each["route"][0]
        for each in lab.status(EDGE)["paths"]
        if each["peer"] == GATEWAY and each["id"] in _active(lab.status(EDGE), 1)
    )
    namespace = lab.plan.members["client"].namespace
    before = lab.status(GATEWAY)["transfers"]
    with (
        witness(lab) as seen,
        socket_in(namespace) as opened,
        socket_in(namespace, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
        socket_in(namespace, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap,
    ):
        opened.settimeout(10)
        opened.connect((vip, 80))
        opened.sendall(_request("/"))
        assert b"nginx" in opened.recv(4096)
        time.sleep(0.1)
        lab.impair(EDGE, first, Impairment(delay_ms=80), direction="a-to-b")
        try:
            tap.setblocking(False)
            opened.sendall(_request(f"/cached/{SIZE}"))
            time.sleep(0.005)
            sent = _sent(tap, opened.getsockname()[1])
            # As a client repeats what was not acknowledged: the edge has yet to hear that the connection moves.
            for _ in range(12):
                raw.sendto(sent, (vip, 0))
                time.sleep(0.006)
            head, got = _answer(opened)
        finally:
            lab.impair(EDGE, first, None)
    after = lab.status(GATEWAY)["transfers"]
    assert f"cache-status: {PROXY}; hit" in head.lower()
    assert got == b"".join(chunks(size_of(SIZE)))
    assert after["moved"] == before["moved"] + 1
    assert after["passed_on"] >= before["passed_on"] + 3
    assert not any(flags & RST for inward, flags in seen if inward)


def _active(status: dict[str, Any], copies: int) -> tuple[int, ...]:
    sets = [each for each in status["path_sets"] if each["peer"] == GATEWAY and each["number"] == copies]
    return tuple(sets[0]["active"])


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST.removeprefix('http://')}\r\n\r\n".encode()


def _answer(opened: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < size_of(SIZE):
        got = opened.recv(1 << 20)
        assert got
        data += got
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode(), body


def _sent(tap: socket.socket, port: int) -> bytes:
    """The last segment with data that left from a port, as the wire has it: the kernel leaves the checksum to the
    interface."""
    found = b""
    while True:
        try:
            packet, (_, _, kind, *_) = tap.recvfrom(65_536)
        except BlockingIOError:
            assert found
            return found
        at = (packet[0] & 15) * 4
        if packet[0] >> 4 == 4 and kind == socket.PACKET_OUTGOING and struct.unpack_from("!H", packet, at) == (port,):
            segment = bytearray(packet[at:])
            if len(segment) > (segment[12] >> 4) * 4:
                segment[16:18] = bytes(2)
                segment[16:18] = _checksum(packet[12:20] + struct.pack("!2H", 6, len(segment)) + segment)
                found = packet[:at] + bytes(segment)


def _checksum(data: bytes) -> bytes:
    words = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return struct.pack("!H", ~words & 0xFFFF)
