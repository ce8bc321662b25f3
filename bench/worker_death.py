"""``python -m bench.worker_death``: a content proxy's worker is killed in mid-download, a hundred times (root).

The topology of ``bench.transfer``. Each sample is one download of 40 MB as fast as it comes, from the proxy's own
address and, in turn, on a keep-alive connection that moves to the proxy for it; the worker gets SIGKILL at a random
byte. A download fails that ends early, is reset, or differs in one byte. The gap is the longest time without a byte at
the client after the kill; in ``undisturbed`` it is that of downloads without one. Results go to
``bench/worker_death.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.machine import described, machine
from bench.transfer import ADDRESS, EDGE, HOST, NAME, NODE, document, ready, wait
from lab.netns import socket_in
from lab.origin import digest, size_of
from lab.running import take_down
from lab.up import up
from lab.workers import worker_of
from topology.vips import vip_for

if TYPE_CHECKING:
    import socket

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("worker_death.json")
SIZE = "40MB"
PATH = f"/cached/{SIZE}"
EVERY = 1.0
"""Seconds between kills at least: faster ones are answered by pauses."""


@dataclass(frozen=True, slots=True)
class Sample:
    exact: bool
    failure: str
    gap_ms: float
    moved: bool


def download(lab: RunningLab, expected: str, *, moved: bool, kill_at: int | None) -> Sample:
    where = str(vip_for(lab.topology, EDGE, "web")[0].address) if moved else ADDRESS
    pid = None
    if kill_at is not None:
        wait(lambda: worker_of(lab.nodes[NODE]) is not None)
        pid = worker_of(lab.nodes[NODE])
    total, count, gap, head = hashlib.sha256(), 0, 0.0, b""
    with socket_in(lab.plan.members["client"].namespace) as opened:
        opened.settimeout(20)
        opened.connect((where, 80))
        try:
            if moved:
                opened.sendall(_request("/headers"))
                while not opened.recv(65_536).rstrip().endswith(b"}"):
                    pass
                # Acknowledgements may be delayed by 40 ms; a connection with something under way is not offered.
                time.sleep(0.06)
            opened.sendall(_request(PATH))
            while b"\r\n\r\n" not in head:
                head += _some(opened)
            head, _, rest = head.partition(b"\r\n\r\n")
            total.update(rest)
            count, last = len(rest), time.perf_counter()
            while count < size_of(SIZE):
                data = _some(opened)
                now = time.perf_counter()
                if kill_at is None or pid is None:
                    gap = max(gap, now - last)
                total.update(data)
                count, last = count + len(data), now
                if pid is not None and kill_at is not None and count >= kill_at:
                    os.kill(pid, signal.SIGKILL)
                    pid = None
        except (OSError, ConnectionError) as error:
            return Sample(False, f"{type(error).__name__} after {count} bytes", gap * 1000, moved)
    served = f"cache-status: {NODE}; hit".encode() in head.lower()
    return Sample(total.hexdigest() == expected, "" if served else "not from the proxy", gap * 1000, moved)


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def _some(opened: socket.socket) -> bytes:
    data = opened.recv(262_144)
    if not data:
        raise ConnectionError("ended before its answer")
    return data


def series(samples: list[Sample]) -> dict[str, Any]:
    gaps = sorted(sample.gap_ms for sample in samples)
    failures = [sample.failure or "other bytes" for sample in samples if sample.failure or not sample.exact]
    return {
        "downloads": len(samples),
        "failed": len(failures),
        "failures": failures,
        "gap_median_ms": round(gaps[len(gaps) // 2], 1),
        "gap_p90_ms": round(gaps[int(len(gaps) * 0.9)], 1),
        "gap_most_ms": round(gaps[-1], 1),
    }


def measure(lab: RunningLab, kills: int) -> dict[str, Any]:
    ready(lab)
    expected = digest(size_of(SIZE))
    fetch = ["curl", "-sS", "--fail", "-o", "/dev/null", "--connect-to", f"::{ADDRESS}:80", f"http://{HOST}{PATH}"]
    lab.exec("client", fetch, timeout=60)
    wait(lambda: lab.status(NODE)["content"]["answers"] >= 2)
    rng = random.Random(100)
    plain = [download(lab, expected, moved=bool(turn % 2), kill_at=None) for turn in range(10)]
    killed: list[Sample] = []
    for turn in range(kills):
        began = time.monotonic()
        # Not in what the kernel has taken already when the client sees its first byte.
        kill_at = int(rng.uniform(0.02, 0.6) * size_of(SIZE))
        killed.append(download(lab, expected, moved=bool(turn % 2), kill_at=kill_at))
        time.sleep(max(0.0, EVERY - (time.monotonic() - began)))
    events = lab.status(NODE)["content"]["events"]
    return {
        "undisturbed": series(plain),
        "own_address": series([sample for sample in killed if not sample.moved]),
        "transferred": series([sample for sample in killed if sample.moved]),
        "events": {word: events.get(word, 0) for word in ("worker_deaths", "carried", "resumed")},
        "resets": {word: count for word, count in events.items() if word.startswith("reset/")},
    }


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.worker_death")
    options.add_argument("--kills", type=int, default=100)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        found = document(directory)
        found["transfers"].append({"application": "web", "proxies": [NODE], "path": PATH})
        file.write_text(yaml.safe_dump(found, sort_keys=False))
        with suppress(OSError):
            take_down(NAME)
        with up(file) as lab:
            results = measure(lab, chosen.kills)
    for name, result in results.items():
        print(name, json.dumps(result))
    RESULTS.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()
