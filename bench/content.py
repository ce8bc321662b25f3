"""``python -m bench.content``: what a content proxy saves of its origin, with wrk through the overlay (root, wrk).

The topology of ``bench/lab.yaml`` with a content proxy beside the clients. 95 of 100 requests are for one of 200
objects of 10,000 bytes that may be kept for an hour, the others for a page that may not. The store is empty at the
start. Then the same with everything kept: what a hit costs. First at the proxy's own address; then at the VIP of an
application whose connections move to the proxy for what it has, and back for the rest, with nothing of that one
stored: ``way`` says which. Results go to bench/content.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import yaml

from bench.machine import described, machine
from lab.running import take_down
from lab.up import up
from lab.workers import worker_of
from topology.vips import vip_for

if TYPE_CHECKING:
    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("content.json")
LAB = Path(__file__).with_name("lab.yaml")
NODE, ADDRESS, GATEWAY, EDGE = "cache-1", "10.91.1.80", "gw-mil-1", "edge-fra-1"
OWN, MOVED = "copies-2", "web"
"""Applications: that of the first way, and that of the second."""
SCRIPT = """\
local count = 0
wrk.headers["Host"] = "{host}.apps.example"
request = function()
  count = count + 1
  if count % 100 < {others} then return wrk.format("GET", "/headers") end
  return wrk.format("GET", "/cached/" .. (10000 + (count * 7919) % 200))
end
"""


@dataclass(frozen=True, slots=True)
class Result:
    way: str
    """``own``: at the proxy's own address. ``moved``: at the VIP, by connections that move."""
    kept_percent: int
    """Of the requests, for what may be kept."""
    requests: int
    errors: int
    """Answers other than 2xx and 3xx, and connections that broke."""
    requests_per_second: float
    cpu_ms_per_request: float
    """Of the content proxy's node and its worker."""
    origin_requests: int
    saved_percent: float
    """Requests that the origin did not see, of all."""
    saved_of_kept_percent: float
    """The same, of those for what may be kept."""
    saved_bytes_percent: float
    """Bytes that the client got and the origin did not send, as their interfaces count."""
    moves: int
    """Connections moved to the proxy, and back."""
    refused: dict[str, int]
    """Requests that stayed at the gateway, by reason."""


def document(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(LAB.read_text())
    found["name"] = "benchcontent"
    found["regions"]["cache"] = {"role": "content"}
    found["applications"][MOVED] = {
        "hostnames": [f"{MOVED}.apps.example"],
        "ports": ["tcp/80"],
        "targets": [{"address": "10.93.0.10"}],
        "gateways": ["gw-mil"],
        "mode": "proxy",
        "proxy": {"kind": "http"},
    }
    found["transfers"] = [{"application": MOVED, "proxies": [NODE], "path": "/cached/"}]
    content = {"listen": [ADDRESS], "directory": str(directory / "cache"), "applications": [OWN, MOVED]}
    found["nodes"][NODE] = {"region": "cache", "underlay": ["10.90.0.51"], "content": content}
    found["lab"]["networks"]["clients"]["members"][NODE] = [ADDRESS]
    return found


def measure(lab: RunningLab, script: Path, way: str, others: int, seconds: int) -> Result:
    moved = way == "moved"
    script.write_text(SCRIPT.replace("{others}", str(others)).replace("{host}", MOVED if moved else OWN))
    address = vip_for(lab.topology, EDGE, MOVED)[0].address if moved else ADDRESS
    before, began = _counts(lab), _cpu(lab)
    words = ["wrk", "-t1", "-c20", f"-d{seconds}s", "-s", str(script), f"http://{address}/"]
    told = lab.exec("client", words, timeout=seconds + 60).stdout
    used = _cpu(lab) - began
    sleep(1)
    after = _counts(lab)
    (requests,) = re.findall(r"(\d+) requests in", told)
    errors = [
        int(number) for number in re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:?) (\d+)", told)
    ]
    count = int(requests)
    # What the proxy fetches for itself comes through the gateway's application too.
    asked = after[MOVED if moved else OWN] - before[MOVED if moved else OWN]
    sent, got = (after[name] - before[name] for name in ("sent", "got"))
    kept = count * (100 - others) / 100
    passed = count - kept
    return Result(
        way,
        100 - others,
        count,
        sum(errors),
        round(float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0]), 1),
        round(used / count * 1000, 3),
        asked,
        round(100 * (1 - asked / count), 2),
        round(100 * (1 - max(0, asked - passed) / kept), 2),
        round(100 * (1 - sent / got), 2),
        after["moved"] - before["moved"] + after["returned"] - before["returned"],
        {
            reason.partition("/")[2]: number - before.get(reason, 0)
            for reason, number in after.items()
            if reason.startswith("refused/") and number > before.get(reason, 0)
        },
    )


def _counts(lab: RunningLab) -> dict[str, int]:
    """Requests that origins answered, by application, and what proxy and gateway count."""
    content, gateway = lab.status(NODE)["content"], lab.status(GATEWAY)
    (proxy,) = (each for each in gateway["proxies"] if each["application"] == MOVED)
    transfers = gateway["transfers"]
    return {
        OWN: content["events"].get("origin_requests", 0),
        MOVED: sum(server["requests"] for server in proxy["servers"]),
        "sent": _traffic(lab, "origin-1", 8),
        "got": _traffic(lab, "client", 0),
        "moved": transfers["moved"],
        "returned": transfers["returned"],
    } | {f"refused/{reason}": count for reason, count in transfers["refused"].items()}


def _traffic(lab: RunningLab, member: str, column: int) -> int:
    """Bytes that came (column 0) or left (8) on all its interfaces."""
    lines = lab.exec(member, ["cat", "/proc/net/dev"]).stdout.splitlines()[2:]
    named = (line.partition(":") for line in lines)
    return sum(int(numbers.split()[column]) for name, _, numbers in named if name.strip() != "lo")


def _cpu(lab: RunningLab) -> float:
    node = lab.nodes[NODE]
    worker = worker_of(node)
    assert worker is not None
    ticks = 0
    for pid in (node, worker):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.content")
    options.add_argument("--seconds", type=int, default=20)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        file.write_text(yaml.safe_dump(document(directory), sort_keys=False))
        with suppress(OSError):
            take_down("benchcontent")
        with up(file) as lab:
            results = [
                measure(lab, directory / "load.lua", way, others, chosen.seconds)
                for way in ("own", "moved")
                for others in (5, 0)
            ]
    for result in results:
        print(json.dumps(asdict(result)))
    RESULTS.write_text(
        json.dumps({"machine": machine(), "results": [asdict(each) for each in results]}, indent=2) + "\n"
    )
    print(described(machine()))


if __name__ == "__main__":
    main()
