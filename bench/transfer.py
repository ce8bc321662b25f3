"""``python -m bench.transfer``: what a client waits when its connection moves to a content proxy, and when not (root).

The topology of ``bench/lab.yaml`` with a content proxy beside the clients. Each sample is one keep-alive connection
whose second request counts, from its last byte sent to the first byte of the answer, at the client: served by the
origin through the gateway, offered and refused (the origin serves), moved to the proxy, moved while 30 % of what
gateway and proxy say to each other is lost, and offered to a proxy that is stopped or was killed in that moment.
Results go to ``bench/transfer.json``, and one transfer as a diagram to ``docs/transfer.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.machine import described, machine
from lab.impairment import Impairment
from lab.netns import socket_in
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("transfer.json")
LAB = Path(__file__).with_name("lab.yaml")
NAME = "benchtransfer"
NODE, ADDRESS, GATEWAY, EDGE = "cache-1", "10.91.1.80", "gw-mil-1", "edge-fra-1"
HOST = "web.apps.example"
MOVED, REFUSED, SERVED = "/cached/10000", "/object/1", "/object/9999"
"""Stored by the proxy; what begins so is offered to it, and never stored; not offered."""
LOSS = 0.3
DOCS = Path(__file__).parent.parent / "docs" / "transfer.md"
BEGIN, END = "<!-- one run of python -m bench.transfer -->", "<!-- until here -->"


def document(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(LAB.read_text())
    found["name"] = NAME
    found["applications"] = {
        "web": {
            "hostnames": [HOST],
            "ports": ["tcp/80"],
            "targets": [{"address": "10.93.0.10"}],
            "gateways": ["gw-mil"],
            "mode": "proxy",
            "proxy": {"kind": "http"},
        }
    }
    found["regions"]["cache"] = {"role": "content"}
    content = {"listen": [ADDRESS], "directory": str(directory / "cache"), "applications": ["web"]}
    found["nodes"][NODE] = {"region": "cache", "underlay": ["10.90.0.51"], "content": content}
    found["lab"]["networks"]["clients"]["members"][NODE] = [ADDRESS]
    found["transfers"] = [{"application": "web", "proxies": [NODE], "path": path} for path in (MOVED, REFUSED)]
    return found


def second_request(lab: RunningLab, path: str, before: Callable[[], None] = lambda: None) -> tuple[float, bool]:
    """Milliseconds until the answer begins, and whether the proxy gave it. ``before`` is called ahead of it."""
    vip = str(vip_for(lab.topology, EDGE, "web")[0].address)
    with socket_in(lab.plan.members["client"].namespace) as opened:
        opened.settimeout(10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.connect((vip, 80))
        _ask(opened, SERVED)
        _answer(opened)
        # Acknowledgements may be delayed by 40 ms; a connection with something under way is not offered.
        time.sleep(0.05)
        before()
        began = time.perf_counter()
        _ask(opened, path)
        first = opened.recv(1, socket.MSG_PEEK)
        took = time.perf_counter() - began
        assert first
        head = _answer(opened)
    return took * 1000, f"cache-status: {NODE}; hit".encode() in head.lower()


def _ask(opened: socket.socket, path: str) -> None:
    opened.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())


def _answer(opened: socket.socket) -> bytes:
    """Its head, when all of it has come."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(opened)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += _some(opened)
    return head


def _some(opened: socket.socket) -> bytes:
    data = opened.recv(65_536)
    if not data:
        raise ConnectionError("the connection ended before its answer")
    return data


def diagram(lab: RunningLab) -> str:
    """One transfer as its gateway noted it, in Mermaid's words."""
    vip = str(vip_for(lab.topology, EDGE, "web")[0].address)
    with socket_in(lab.plan.members["client"].namespace) as opened:
        opened.settimeout(10)
        opened.connect((vip, 80))
        _ask(opened, SERVED)
        _answer(opened)
        time.sleep(0.05)
        _ask(opened, MOVED)
        _answer(opened)
        time.sleep(0.2)
        flows = lab.status(GATEWAY, "/flows")["flows"]
    # Connections that a killed proxy had are still listed.
    flow = min((each for each in flows if each["mode"] == "transferred"), key=lambda each: each["idle_s"])
    letters = {"gateway": "G", NODE: "P", EDGE: "E"}
    lines = ["sequenceDiagram", "    participant C as client", "    participant E as edge"]
    lines += ["    participant G as gateway", "    participant P as content proxy", "    C->>G: request (held)"]
    for at, source, to, message in flow["records"]["steps"]:
        lines.append(f"    {letters[source]}->>{letters[to]}: {message}, {at:.2f} ms")
        if message == "TRANSFER_COMMIT":
            lines.append("    P->>C: answer")
    return "\n".join(lines)


def write_diagram(text: str) -> None:
    page = DOCS.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n```mermaid\n{text}\n```\n{END}{after}")


def series(samples: list[tuple[float, bool]]) -> dict[str, Any]:
    times = sorted(took for took, _ in samples)
    return {
        "samples": len(times),
        "moved": sum(moved for _, moved in samples),
        "median_ms": round(statistics.median(times), 2),
        "p99_ms": round(times[min(len(times) - 1, int(len(times) * 0.99))], 2),
        "least_ms": round(times[0], 2),
        "most_ms": round(times[-1], 2),
    }


def wait(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the lab does not get there")
        time.sleep(0.02)


def ready(lab: RunningLab) -> None:
    """The proxy has its answer, and gateway and edge have their sessions with it."""
    lab.wait_ready(NODE)

    def reached() -> bool:
        peers = (GATEWAY, True), (EDGE, True), (EDGE, False)
        up = {(each["peer"], each["adjacent"]) for each in lab.status(NODE)["sessions"] if each["usable"]}
        return all(peer in up for peer in peers)

    wait(reached)
    # The proxy's way to the origin may be a moment later.
    words = [
        "curl",
        "-sS",
        "--fail",
        "--retry",
        "10",
        "--retry-all-errors",
        "--retry-delay",
        "1",
        "-o",
        "/dev/null",
        "--connect-to",
        f"::{ADDRESS}:80",
        f"http://{HOST}{MOVED}",
    ]
    lab.exec("client", words)
    wait(lambda: lab.status(NODE)["content"]["answers"] >= 1)


def measure(lab: RunningLab, count: int) -> dict[str, Any]:
    ready(lab)
    found: dict[str, Any] = {}
    turns: dict[str, list[tuple[float, bool]]] = {"served": [], "refused": [], "moved": []}
    for path in (SERVED, REFUSED, MOVED):
        second_request(lab, path)
    for turn in range(count):
        # Each time another one: a proxy is not asked again at once for what it has not.
        for path, name in ((SERVED, "served"), (f"{REFUSED}{turn:04}", "refused"), (MOVED, "moved")):
            turns[name].append(second_request(lab, path))
    found |= {name: series(samples) for name, samples in turns.items()}
    found["refused"]["more_than_served_ms"] = round(found["refused"]["median_ms"] - found["served"]["median_ms"], 2)
    lab.impair(GATEWAY, NODE, Impairment(loss=LOSS, seed=7))
    found[f"moved_at_{LOSS:g}_loss"] = series([second_request(lab, MOVED) for _ in range(count)])
    lab.impair(GATEWAY, NODE, None)
    found["stopped"] = series([_stopped(lab) for _ in range(max(3, count // 20))])
    found["killed"] = series([_killed(lab) for _ in range(3)])
    found["gateway"] = lab.status(GATEWAY)["transfers"]
    return found


def _stopped(lab: RunningLab) -> tuple[float, bool]:
    pid = lab.nodes[NODE]
    try:
        return second_request(lab, MOVED, lambda: os.kill(pid, signal.SIGSTOP))
    finally:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)
        ready(lab)


def _killed(lab: RunningLab) -> tuple[float, bool]:
    try:
        return second_request(lab, MOVED, lambda: lab.kill(NODE))
    finally:
        lab.start(NODE)
        ready(lab)


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.transfer")
    options.add_argument("--count", type=int, default=100, help="samples of each kind")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        file.write_text(yaml.safe_dump(document(directory), sort_keys=False))
        with suppress(OSError):
            take_down(NAME)
        with up(file) as lab:
            results = measure(lab, chosen.count)
            for name, result in results.items():
                print(name, json.dumps(result))
            write_diagram(diagram(lab))
    RESULTS.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()
