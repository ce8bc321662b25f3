"""Traffic through a lab and what is read off it: the generator's reports, curl, a probe, the kernel's counters."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lab import netns
from lab.link import tool

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from lab.running import RunningLab

Server = Literal["udp-recv", "udp-echo", "tcp-sink", "tcp-source"]


def generator() -> str:
    return str(tool("braid-traffic", "BRAID_TRAFFIC"))


def endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@contextmanager
def serving(lab: RunningLab, host: str, mode: Server, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A ``braid-traffic`` server on both families of a lab host, listening; its reports are JSON lines on stdout."""
    child = lab.listening(host, [generator(), mode, "--bind", f"[::]:{port}"])
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=10)


def line_of(server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next report of a server."""
    assert server.stdout is not None
    report: dict[str, Any] = json.loads(server.stdout.readline())
    return report


def run_generator(lab: RunningLab, host: str, mode: str, to: str, **options: float | bool) -> dict[str, Any]:
    """A client of ``braid-traffic`` to its end; options are its own (``rate=1000``, ``echo=True``)."""
    words = [word for key, value in options.items() for word in _option(key, value)]
    seconds = float(options.get("seconds", 10.0))
    done = lab.exec(host, [generator(), mode, "--to", to, *words], timeout=seconds + 30)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _option(key: str, value: float | bool) -> list[str]:
    return [f"--{key}"] if value is True else [f"--{key}", str(value)]


@contextmanager
def sending(lab: RunningLab, host: str, to: str, **options: float | bool) -> Iterator[Future]:
    """``udp-send`` in the background; at the end of the block it has ended, and its report is there."""
    future = Future()

    def body() -> None:
        try:
            future.report = run_generator(lab, host, "udp-send", to, **options)
        except Exception as error:  # noqa: BLE001 - raised again in the test's own thread
            future.error = error

    thread = threading.Thread(target=body, name="udp-send")
    thread.start()
    try:
        yield future
    finally:
        thread.join()
    if future.error is not None:
        raise future.error


@dataclass(slots=True)
class Future:
    report: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Download:
    sha256: str
    seconds: float
    megabits: float
    remote: str


def download(lab: RunningLab, client: str, url: str, *words: str, timeout: float = 120) -> Download:
    """curl's download of a URL, hashed on its way; fails with what curl said."""
    script = (
        'set -o pipefail; curl -sS --fail -w "%{stderr}%{time_total} %{speed_download} %{remote_ip}" "$@" | sha256sum'
    )
    done = lab.exec(client, ["bash", "-c", script, "bash", *words, url], timeout=timeout, check=False)
    assert done.returncode == 0, f"curl {url}: {done.stderr}"
    seconds, speed, remote = done.stderr.split()
    return Download(done.stdout.split()[0], float(seconds), float(speed) * 8e-6, remote)


def curl_json(lab: RunningLab, client: str, url: str, *words: str) -> dict[str, Any]:
    done = lab.exec(client, ["curl", "-sS", "--fail", "--max-time", "5", *words, url], timeout=20)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass(frozen=True, slots=True)
class Retransmissions:
    """TCP segments sent again, and how many of them had arrived already, as the receiver's D-SACKs (RFC 2883) say.

    Those are tail loss probes and timeouts of a kernel that waited for the CPU: no packet of theirs was lost.
    """

    segments: int
    needless: int

    @property
    def needed(self) -> int:
        return max(0, self.segments - self.needless)

    def __sub__(self, earlier: Retransmissions) -> Retransmissions:
        return Retransmissions(self.segments - earlier.segments, self.needless - earlier.needless)

    def __str__(self) -> str:
        return f"{self.needed} TCP retransmissions of lost segments ({self.needless} of segments that had arrived)"


def retransmissions(lab: RunningLab, receiver: str, *senders: str) -> Retransmissions:
    """So far, of connections from ``senders`` to ``receiver``, read in both kernels."""
    there = [tcp_counters(lab, sender) for sender in senders]
    here = tcp_counters(lab, receiver)
    reported = sum(sender["TCPDSACKRecvSegs"] + sender["TCPDSACKOfoRecv"] for sender in there)
    # An ACK with a D-SACK may be overtaken by a later one that the sender makes use of.
    return Retransmissions(
        sum(sender["RetransSegs"] for sender in there),
        max(reported, here["TCPDSACKOldSent"] + here["TCPDSACKOfoSent"]),
    )


def tcp_counters(lab: RunningLab, host: str) -> dict[str, int]:
    lines = [line.split() for name in ("snmp", "netstat") for line in _proc_net(lab, host, name).splitlines()]
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        if names[0] in ("Tcp:", "TcpExt:"):
            found |= dict(zip(names[1:], map(int, values[1:]), strict=True))
    return found


def sent_dropped(lab: RunningLab, host: str, interface: str) -> int:
    """Packets for an interface that the kernel dropped, since the interface came up: for a TUN, its queue was full."""
    line = next(line for line in _proc_net(lab, host, "dev").splitlines() if line.strip().startswith(f"{interface}:"))
    return int(line.split(":")[1].split()[11])


def _proc_net(lab: RunningLab, host: str, name: str) -> str:
    return netns.call_in(lab.namespace(host), Path(f"/proc/thread-self/net/{name}").read_text)


def total_drops(lab: RunningLab, reason: str) -> int:
    """Packets all nodes together have dropped for a reason."""
    return sum(int(lab.status(node)["drops"].get(reason, 0)) for node in lab.topology.nodes)


class Probe:
    """One UDP flow to an echo server, a small datagram every ``interval`` seconds, both directions timed.

    Use as a context manager; ``received`` and ``sent`` are monotonic times by number.
    """

    def __init__(self, lab: RunningLab, client: str, address: str, port: int, interval: float = 0.002) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = lab.socket(client, family, socket.SOCK_DGRAM)
        self._socket.settimeout(0.2)
        self._to = (address, port)
        self._interval = interval
        self._over = threading.Event()
        self._threads = [threading.Thread(target=body, name="probe") for body in (self._send, self._receive)]
        self.sent: list[float] = []
        self.received: dict[int, float] = {}

    def first_received_after(self, moment: float) -> float | None:
        """When the first answer arrived to something sent after ``moment``."""
        times = [at for number, at in list(self.received.items()) if self.sent[number] >= moment]
        return min(times, default=None)

    def wait_received_after(self, moment: float, timeout: float) -> float:
        """Seconds from ``moment`` to that answer."""
        while (at := self.first_received_after(moment)) is None:
            assert time.monotonic() < moment + timeout, f"no answer within {timeout:g} s"
            time.sleep(0.005)
        return at - moment

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time between two answers that arrived in a span, its ends included."""
        times = sorted([since, *(at for at in list(self.received.values()) if since < at < until), until])
        return max(b - a for a, b in pairwise(times))

    def _send(self) -> None:
        began = time.monotonic()
        while not self._over.wait(max(0.0, began + len(self.sent) * self._interval - time.monotonic())):
            number = len(self.sent)
            self.sent.append(time.monotonic())
            # Refusals of single datagrams (no route while the edge is away) show as missing answers.
            with suppress(OSError):
                self._socket.sendto(number.to_bytes(8, "big") + bytes(92), self._to)

    def _receive(self) -> None:
        while not self._over.is_set():
            with suppress(OSError):
                data = self._socket.recv(2048)
                self.received.setdefault(int.from_bytes(data[:8], "big"), time.monotonic())

    def __enter__(self) -> Probe:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()


def shortest_round_trip(lab: RunningLab, client: str, url: str, *servers: str) -> float:
    """What the server of a download, any of these, has measured meanwhile, in milliseconds."""

    def connections() -> dict[str, str]:
        """By both ends, what the kernel says of each."""
        command = ["ss", "-tinHO", "state", "established", "( sport = :80 )"]
        lines = [line for server in servers for line in lab.exec(server, command).stdout.splitlines()]
        return {" ".join(line.split()[2:4]): line for line in lines}

    before = connections()
    with lab.popen(client, ["curl", "-s", "-o", "/dev/null", "--limit-rate", "4M", url]) as running:
        try:
            deadline = time.monotonic() + 10
            while True:
                new = [said for ends, said in connections().items() if ends not in before]
                busy = [said for said in new if re.search(r"bytes_acked:[0-9]{6}", said)]
                if busy:
                    (least,) = re.findall(r"minrtt:([0-9.]+)", busy[0])
                    return float(least)
                assert time.monotonic() < deadline, new
                time.sleep(0.1)
        finally:
            running.kill()
