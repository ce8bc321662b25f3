"""``python -m bench.flood``: a SYN flood at fast-path applications, and real clients meanwhile (root).

The lab is that of ``make bench``; one copy over one relay. One application answers SYNs at its gateway, the other
at the edge (``cookie_at: edge``). ``braid-traffic syn-flood`` sends as fast as the client's host can, each SYN from
another address; answers are counted at the node, and so is the processor time of its process. Meanwhile curl opens one
connection after the other. Results go to ``bench/flood.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import cpu
from bench.contenders import LAB
from bench.machine import described, machine
from lab.link import tool
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("flood.json")
NAME = "bench-flood"
CLIENT, EDGE, GATEWAY, ORIGIN = "client", "edge-fra-1", "gw-mil-1", "origin-1"
SOURCES = "198.18.0.0/15"
"""Where the flood seems to come from. Its answers end at the edge's host, like those to addresses that nobody has."""
COOKIE_AT = {"gateway": GATEWAY, "edge": EDGE}
PORT = 80
MOST = 1_000_000
"""Connections of curl: more than there can be while the flood lasts."""
PATIENCE = 5.0
"""Seconds of one of them."""


def document() -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load(LAB.read_text())
    application = {**given["applications"]["copies-1"], "mode": "fast-path"}
    given["name"] = NAME
    given["applications"] = {
        where: {**deepcopy(application), "hostnames": [f"{where}.apps.example"], "cookie_at": where}
        for where in COOKIE_AT
    }
    given["regions"]["gw-mil"]["cookie_secret"] = "5a" * 16
    return given


def measure(lab: RunningLab, where: str, rate: float, seconds: float) -> dict[str, Any]:
    """One flood at the application whose cookies are made at ``where``."""
    node, vip = COOKIE_AT[where], str(vip_for(lab.topology, EDGE, where)[0].address)
    flood = [str(tool("braid-traffic", "BRAID_TRAFFIC")), "syn-flood", "--to", f"{vip}:{PORT}"]
    before, used = _seen(lab, node), cpu.seconds([lab.nodes[node]])
    began = time.monotonic()
    with _curl(lab, f"http://{vip}/") as tried:
        sent = json.loads(lab.exec(CLIENT, [*flood, "--rate", str(rate), "--seconds", str(seconds)]).stdout)
    took = time.monotonic() - began
    used, after = cpu.seconds([lab.nodes[node]]) - used, _seen(lab, node)
    answered = after["cookies"] - before["cookies"]
    return {
        "cookie_at": where,
        "syns_per_second": round(sent["packets_per_second"]),
        "answered_per_second": round(answered / took),
        "answered_per_cpu_second": round(answered / used),
        "sessions_more": after["sessions"] - before["sessions"],
        "memory_more_kib": after["memory_kib"] - before["memory_kib"],
        "curl": len(tried),
        "curl_good": sum(good for good, _ in tried),
        "curl_slowest_s": max(took for _, took in tried),
    }


@contextmanager
def _curl(lab: RunningLab, url: str) -> Iterator[list[tuple[bool, float]]]:
    """Connections one after the other during the block; afterwards whether each brought the page, and its seconds."""
    argv = ["curl", "-s", "-H", "Connection: close", "-o", "/dev/null", "--max-time", str(PATIENCE)]
    argv += ["-w", "%{stderr}%{http_code} %{time_total}\\n", f"{url}#[1-{MOST}]"]
    seen: list[tuple[bool, float]] = []
    with tempfile.TemporaryFile("w+") as said:
        child = lab.popen(CLIENT, argv, stderr=said)
        yield seen
        child.terminate()
        child.wait(10)
        said.seek(0)
        # What is under way when it ends leaves no line, or half of one.
        lines = [line.split() for line in said.read().split("\n")[:-1]]
    seen += [(code == "200", float(took)) for code, took in lines]


def _seen(lab: RunningLab, node: str) -> dict[str, int]:
    fast = lab.status(node)["fast_path"]
    pages = int(Path(f"/proc/{lab.nodes[node]}/statm").read_text().split()[1])
    return {"cookies": fast["cookies_sent"], "sessions": fast["sessions"], "memory_kib": pages * 4}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--rate", type=float, default=1e6, help="SYNs per second at the most [1000000]")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--no-write", action="store_true", help="leave bench/flood.json as it is")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "net.yaml"
        file.write_text(yaml.safe_dump(document()))
        take_down(NAME)
        with up(file, direct=True) as lab:
            lab.exec(EDGE, ["ip", "route", "add", "blackhole", SOURCES])
            found = []
            for where in COOKIE_AT:
                found.append(measure(lab, where, options.rate, options.seconds))
                print(json.dumps(found[-1]), flush=True)
    if not options.no_write:
        RESULTS.write_text(json.dumps({"machine": described(machine()), "values": found}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
