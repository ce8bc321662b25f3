"""``python -m bench.transfer``: what a client waits when its connection moves to a content proxy, and when not (root).

The topology of ``bench/lab.yaml`` with a content proxy beside the clients. Each sample is one keep-alive connection
whose second request counts, from its last byte sent to the first byte of the answer, at the client: served by the
origin through the gateway; absent, where the gateway knows that the proxy has it not; small, where the proxy has it
and would not serve it; a reload, for which the proxy would have to ask the origin, as the gateway sees; refused, where
the proxy is asked for what was purged a moment ago, of which the gateway has not heard; judged, where it is asked for
what it has and refuses it when it has looked (a client that wants it fresher); moved to the proxy, moved while 30 % of
what gateway and proxy say to each other is lost, and offered to a proxy that is stopped or was killed in that moment.
Those of refused and judged count that were asked and refused, by the gateway's own count. Of those that moved,
``candidate`` is the time from the gateway's decision until the first byte of the answer passed the client's interface.
Results go to ``bench/transfer.json``, and one transfer as a diagram to ``docs/transfer.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import tempfile
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.awake import awake
from bench.machine import described, machine
from content.advertise import EVERY
from lab.impairment import Impairment
from lab.netns import socket_in
from lab.running import take_down
from lab.up import up
from topology.content import OPERATOR_SOCKET
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("transfer.json")
LAB = Path(__file__).with_name("lab.yaml")
NAME = "benchtransfer"
NODE, ADDRESS, GATEWAY, EDGE = "cache-1", "10.91.1.80", "gw-mil-1", "edge-fra-1"
HOST = "web.apps.example"
MOVED, ABSENT, SERVED = "/cached/10000", "/object/1", "/object/9999"
"""Stored by the proxy; what begins so would be offered to it, and is never stored; not offered."""
SMALL, RELOADED, REFUSED, JUDGED = "/cached/5", "/cached/6", "/cached/7", "/cached/8"
"""What begins so is stored, and smaller than it may be; asked for anew; purged before; wanted fresher than it is."""
FIELDS = {
    RELOADED: "Cache-Control: no-cache\r\n",
    JUDGED: "Cache-Control: min-fresh=100000\r\n",
}
"""Of requests."""
PAUSE = 0.03
"""Seconds in which what was purged is forgotten; gateways hear of it later, half a second at most."""
LOSS = 0.3
DRAWN_OF = 21
ETH_P_ALL, SO_TIMESTAMPNS = 3, 35
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
    rows = {MOVED: {}, ABSENT: {}, RELOADED: {}, REFUSED: {}, JUDGED: {}, SMALL: {"least_kb": 1000}}
    found["transfers"] = [{"application": "web", "proxies": [NODE], "path": path} | more for path, more in rows.items()]
    return found


@dataclass(frozen=True)
class Sample:
    took: float
    """Milliseconds until the answer begins, at the client."""
    moved: bool
    """The proxy gave it."""
    candidate: float | None
    """Milliseconds from the gateway's decision until it passed the client's interface, where it moved."""
    refused: bool = False
    """The proxy was asked, and refused for its content."""


def second_request(lab: RunningLab, path: str, before: Callable[[], None] = lambda: None, fields: str = "") -> Sample:
    """``before`` is called ahead of it; ``fields`` are more header fields."""
    vip = str(vip_for(lab.topology, EDGE, "web")[0].address)
    namespace = lab.plan.members["client"].namespace
    with socket_in(namespace) as opened, tapped(namespace) as tap:
        opened.settimeout(10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.connect((vip, 80))
        _ask(opened, SERVED)
        _answer(opened)
        # Acknowledgements may be delayed by 40 ms; a connection with something under way is not offered.
        time.sleep(0.05)
        before()
        began = time.perf_counter()
        _ask(opened, path, fields)
        first = opened.recv(1, socket.MSG_PEEK)
        took = time.perf_counter() - began
        assert first
        head = _answer(opened)
        moved = f"cache-status: {NODE}; hit".encode() in head.lower()
        client = "{}:{}".format(*opened.getsockname())
        arrived = first_byte(tap, opened.getsockname()[1])
        candidate = None
        if moved and arrived is not None:
            flows = lab.status(GATEWAY, "/flows")["flows"]
            offered = max(each["records"]["offered"] for each in flows if each["client"] == client and each["records"])
            candidate = (arrived - offered) * 1000
    return Sample(took * 1000, moved, candidate)


@contextmanager
def tapped(namespace: str) -> Iterator[socket.socket]:
    with socket_in(namespace, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        tap.setblocking(False)
        yield tap


def first_byte(tap: socket.socket, port: int) -> float | None:
    """Unix seconds at which the answer to the last request of a client's port came in."""
    arrived = None
    with suppress(BlockingIOError):
        while True:
            packet, told, _, (_, _, kind, *_) = tap.recvmsg(65_536, 64)
            at = (packet[0] & 15) * 4
            if (
                packet[0] >> 4 != 4
                or packet[9] != socket.IPPROTO_TCP
                or port not in struct.unpack_from("!HH", packet, at)
            ):
                continue
            length = int.from_bytes(packet[2:4], "big")
            if length == at + (packet[at + 12] >> 4) * 4:
                continue
            if kind == socket.PACKET_OUTGOING:
                arrived = None
            elif arrived is None:
                seconds, nanoseconds = struct.unpack("=qq", told[0][2])
                arrived = seconds + nanoseconds / 1e9
    return arrived


def _ask(opened: socket.socket, path: str, fields: str = "") -> None:
    opened.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n".encode())


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
    """One transfer as its gateway noted it, in Mermaid's words: of some, that of the median time until COMMIT."""
    vip = str(vip_for(lab.topology, EDGE, "web")[0].address)
    found: list[dict[str, Any]] = []
    for _ in range(DRAWN_OF):
        with socket_in(lab.plan.members["client"].namespace) as opened:
            opened.settimeout(10)
            opened.connect((vip, 80))
            _ask(opened, SERVED)
            _answer(opened)
            time.sleep(0.05)
            _ask(opened, MOVED)
            _answer(opened)
            time.sleep(0.2)
            flows = [each for each in lab.status(GATEWAY, "/flows")["flows"] if each["mode"] == "transferred"]
            # Connections that a killed proxy had are still listed.
            found.append(min(flows, key=lambda each: each["idle_s"]))
    flow = sorted(found, key=_until_commit)[DRAWN_OF // 2]
    letters = {"gateway": "G", NODE: "P", EDGE: "E"}
    lines = ["sequenceDiagram", "    participant C as client", "    participant E as edge"]
    lines += ["    participant G as gateway", "    participant P as content proxy", "    C->>G: request (held)"]
    for at, source, to, message in flow["records"]["steps"]:
        lines.append(f"    {letters[source]}->>{letters[to]}: {message}, {at:.2f} ms")
        if message == "TRANSFER_COMMIT":
            lines.append("    P->>C: answer")
    return "\n".join(lines)


def _until_commit(flow: dict[str, Any]) -> float:
    found: list[float] = [at for at, _, _, message in flow["records"]["steps"] if message == "TRANSFER_COMMIT"]
    return found[0] if found else inf


def write_diagram(text: str) -> None:
    page = DOCS.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n```mermaid\n{text}\n```\n{END}{after}")


def series(samples: list[Sample]) -> dict[str, Any]:
    found: dict[str, Any] = {"samples": len(samples), "moved": sum(sample.moved for sample in samples)}
    found |= spread([sample.took for sample in samples])
    candidates = [sample.candidate for sample in samples if sample.candidate is not None]
    return found | ({"candidate": spread(candidates)} if candidates else {})


def spread(values: list[float]) -> dict[str, float]:
    times = sorted(values)
    return {
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


def ready(lab: RunningLab, count: int = 0) -> None:
    """The proxy has its answer, four times ``count`` others that are not to be moved, and sessions with gateway and
    edge. The gateway knows of the answers."""
    lab.wait_ready(NODE)

    def reached() -> bool:
        peers = (GATEWAY, True), (EDGE, True), (EDGE, False)
        up = {(each["peer"], each["adjacent"]) for each in lab.status(NODE)["sessions"] if each["usable"]}
        return all(peer in up for peer in peers)

    wait(reached)
    # The proxy's way to the origin may be a moment later.
    words = ["curl", "-sS", "--fail", "--retry", "10", "--retry-all-errors", "--retry-delay", "1", "-o", "/dev/null"]
    many = (SMALL, RELOADED, REFUSED, JUDGED)
    names = [MOVED, *(f"{begin}{number:03}" for begin in many for number in range(count))]
    urls = [word for name in names for word in ("-o", "/dev/null", f"http://{HOST}{name}")]
    lab.exec("client", [*words, "--connect-to", f"::{ADDRESS}:80", *urls])
    wait(lambda: lab.status(NODE)["content"]["answers"] >= len(names))
    time.sleep(2 * EVERY)


def watched_request(lab: RunningLab, path: str, before: Callable[[], None] = lambda: None, fields: str = "") -> Sample:
    """Whether the proxy was asked and refused is looked up before and after. The gateway has been awake for that."""

    def refused() -> int:
        counts: dict[str, int] = lab.status(GATEWAY)["transfers"]["refused"]
        return counts.get("content", 0) + counts.get("variant", 0)

    known = refused()
    sample = second_request(lab, path, before, fields)
    return replace(sample, refused=refused() == known + 1)


def purge(directory: Path, path: str) -> None:
    """Have the proxy drop an answer."""
    with socket.socket(socket.AF_UNIX) as operator:
        operator.connect(str(directory / "cache" / OPERATOR_SOCKET))
        operator.sendall(f"DELETE /answers?url=http://{HOST}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while b'"purged"' not in answer:
            answer += _some(operator)
        assert b'"purged":1' in answer
    time.sleep(PAUSE)


def measure(lab: RunningLab, directory: Path, count: int, *, failing: bool) -> dict[str, Any]:
    ready(lab, count)
    found: dict[str, Any] = {}
    kinds = "served", "absent", "small", "reload", "refused", "judged", "moved"
    turns: dict[str, list[Sample]] = {kind: [] for kind in kinds}
    for path in (SERVED, MOVED):
        second_request(lab, path)
    for turn in range(count):
        # Each time another one: a proxy is not asked again at once for what it has not.
        for kind, path in (("served", SERVED), ("absent", f"{ABSENT}{turn:04}"), ("moved", MOVED)):
            turns[kind].append(watched_request(lab, path))
        for kind, begin in (("small", SMALL), ("reload", RELOADED)):
            turns[kind].append(watched_request(lab, f"{begin}{turn:03}", fields=FIELDS.get(begin, "")))
        gone = f"{REFUSED}{turn:03}"
        turns["refused"].append(watched_request(lab, gone, lambda path=gone: purge(directory, path)))  # type: ignore[misc]
        turns["judged"].append(watched_request(lab, f"{JUDGED}{turn:03}", fields=FIELDS[JUDGED]))
    for kind in ("refused", "judged"):
        turns[kind] = [sample for sample in turns[kind] if sample.refused]
        assert len(turns[kind]) >= count / 2, f"{kind}: {len(turns[kind])} of {count} were"
    found |= {kind: series(samples) for kind, samples in turns.items()}
    for name in kinds[1:-1]:
        found[name]["more_than_served_ms"] = round(found[name]["median_ms"] - found["served"]["median_ms"], 2)
    if not failing:
        return found
    lab.impair(GATEWAY, NODE, Impairment(loss=LOSS, seed=7))
    found[f"moved_at_{LOSS:g}_loss"] = series([second_request(lab, MOVED) for _ in range(count)])
    lab.impair(GATEWAY, NODE, None)
    found["stopped"] = series([_stopped(lab) for _ in range(max(3, count // 20))])
    found["killed"] = series([_killed(lab) for _ in range(3)])
    found["gateway"] = lab.status(GATEWAY)["transfers"]
    return found


def _stopped(lab: RunningLab) -> Sample:
    pid = lab.nodes[NODE]
    try:
        return second_request(lab, MOVED, lambda: os.kill(pid, signal.SIGSTOP))
    finally:
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.2)
        ready(lab)


def _killed(lab: RunningLab) -> Sample:
    try:
        return second_request(lab, MOVED, lambda: lab.kill(NODE))
    finally:
        lab.start(NODE)
        ready(lab)


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.transfer")
    options.add_argument("--count", type=int, default=100, help="samples of each kind")
    options.add_argument("--quick", action="store_true", help="print, write nothing, and leave out what fails")
    options.add_argument("--awake", action="store_true", help="CPUs never halt (see bench.awake); writes nothing")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        file.write_text(yaml.safe_dump(document(directory), sort_keys=False))
        with suppress(OSError):
            take_down(NAME)
        part = chosen.quick or chosen.awake
        with awake() if chosen.awake else nullcontext(), up(file) as lab:
            results = measure(lab, directory, chosen.count, failing=not part)
            for name, result in results.items():
                print(name, json.dumps(result))
            if part:
                print(diagram(lab))
                return
            write_diagram(diagram(lab))
    RESULTS.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()
