"""``python -m bench.content``: what a content proxy saves of its origin, with wrk through the overlay (root, wrk).

The topology of ``bench/lab.yaml`` with a content proxy beside the clients. 95 of 100 requests are for one of 200
objects of 10,000 bytes that may be kept for an hour, the others for a page that may not. The store is empty at the
start. Then the same with everything kept: what a hit costs. Results go to bench/content.json.
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

if TYPE_CHECKING:
    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("content.json")
LAB = Path(__file__).with_name("lab.yaml")
NODE, ADDRESS, HOST = "cache-1", "10.91.1.80", "copies-2.apps.example"
SCRIPT = """\
local count = 0
wrk.headers["Host"] = "copies-2.apps.example"
request = function()
  count = count + 1
  if count % 100 < {others} then return wrk.format("GET", "/headers") end
  return wrk.format("GET", "/cached/" .. (10000 + (count * 7919) % 200))
end
"""


@dataclass(frozen=True, slots=True)
class Result:
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
    """Bytes that clients got and no origin sent."""


def document(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(LAB.read_text())
    found["name"] = "benchcontent"
    found["regions"]["cache"] = {"role": "content"}
    content = {"listen": [ADDRESS], "directory": str(directory / "cache"), "applications": ["copies-2"]}
    found["nodes"][NODE] = {"region": "cache", "underlay": ["10.90.0.51"], "content": content}
    found["lab"]["networks"]["clients"]["members"][NODE] = [ADDRESS]
    return found


def measure(lab: RunningLab, script: Path, others: int, seconds: int) -> Result:
    script.write_text(SCRIPT.replace("{others}", str(others)))
    before, began = lab.status(NODE)["content"], _cpu(lab)
    words = ["wrk", "-t1", "-c20", f"-d{seconds}s", "-s", str(script), f"http://{ADDRESS}/"]
    told = lab.exec("client", words, timeout=seconds + 60).stdout
    used = _cpu(lab) - began
    sleep(1)
    after = lab.status(NODE)["content"]
    (requests,) = re.findall(r"(\d+) requests in", told)
    errors = [
        int(number) for number in re.findall(r"(?:connect|read|write|timeout|Non-2xx or 3xx responses:?) (\d+)", told)
    ]
    count = int(requests)
    asked = after["events"]["origin_requests"] - before["events"].get("origin_requests", 0)
    sent, fetched = (after[name] - before[name] for name in ("client_bytes", "origin_bytes"))
    kept = count * (100 - others) / 100
    passed = count - kept
    return Result(
        100 - others,
        count,
        sum(errors),
        round(float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0]), 1),
        round(used / count * 1000, 3),
        asked,
        round(100 * (1 - asked / count), 2),
        round(100 * (1 - max(0, asked - passed) / kept), 2),
        round(100 * (1 - fetched / sent), 2),
    )


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
    options.add_argument("--seconds", type=int, default=15)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        file.write_text(yaml.safe_dump(document(directory), sort_keys=False))
        with suppress(OSError):
            take_down("benchcontent")
        with up(file) as lab:
            results = [measure(lab, directory / "load.lua", others, chosen.seconds) for others in (5, 0)]
    for result in results:
        print(json.dumps(asdict(result)))
    RESULTS.write_text(
        json.dumps({"machine": machine(), "results": [asdict(each) for each in results]}, indent=2) + "\n"
    )
    print(described(machine()))


if __name__ == "__main__":
    main()
