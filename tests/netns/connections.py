"""Connections of proxied applications, byte by byte: their two ends, and what the gateway says of them."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

from lab.origin import digest, size_of
from lab.witness import witness
from tests.netns import labs, traffic

if TYPE_CHECKING:
    from lab.running import RunningLab

GATEWAY, CLIENT, SERVER = "gw-sto-1", "client", "origin-2"


def proxy(lab: RunningLab, application: str = "plain") -> dict[str, Any]:
    (found,) = [each for each in lab.status(GATEWAY)["proxies"] if each["application"] == application]
    return dict(found)


def fetch(lab: RunningLab, application: str, version: int, *sizes: str) -> list[str]:
    """Objects over one connection, in order, and compared; what the client saw of control packets. How often it
    connected for each."""
    vip = labs.vip(lab, application, version)
    with witness(lab, CLIENT, vip) as seen:
        host = traffic.endpoint(vip, 80)
        words = " ".join(f"-o >(sha256sum >&2) http://{host}/object/{size}" for size in sizes)
        script = f"curl -sS --fail -w '%{{num_connects}}\n' {words}; wait; sleep 0.2"
        done = lab.exec(CLIENT, ["bash", "-c", script], timeout=60)
    expected = sorted(digest(size_of(size)) for size in sizes)
    assert sorted(line.split()[0] for line in done.stderr.splitlines()) == expected
    assert (seen.connections, dict(seen.control), seen.missed) == (1, {}, 0)
    return list(done.stdout.split())


def connect(
    lab: RunningLab, port: int, version: int = 4, application: str = "plain", room: int | None = None
) -> socket.socket:
    """``room``: bytes that the client takes before it reads."""
    opened = lab.socket(CLIENT, socket.AF_INET6 if version == 6 else socket.AF_INET)
    opened.settimeout(20)
    if room is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    opened.connect((labs.vip(lab, application, version), port))
    return opened


def listener(lab: RunningLab, port: int, host: str = SERVER) -> socket.socket:
    opened = lab.socket(host, socket.AF_INET6)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("::", port))
    opened.listen()
    opened.settimeout(20)
    return opened


def accept(listening: socket.socket) -> socket.socket:
    accepted, _ = listening.accept()
    accepted.settimeout(20)
    return accepted


def receive(opened: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += (more := opened.recv(count - len(data)))
        assert more, f"closed after {len(data)} of {count} bytes"
    return bytes(data)


def receive_all(opened: socket.socket) -> bytes:
    data = bytearray()
    while more := opened.recv(65536):
        data += more
    return bytes(data)


def reset(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    opened.close()


def wait_spliced(lab: RunningLab, before: int, application: str = "plain") -> None:
    deadline = time.monotonic() + 5
    while (found := proxy(lab, application))["spliced"] == before:
        assert time.monotonic() < deadline, found["stayed"]
        time.sleep(0.02)
