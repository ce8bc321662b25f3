"""``python -m bench.fast_path``: one TCP flow through mode ``fast-path``, mode ``nat`` and HAProxy, in turn (root).

The lab is that of ``make bench``; one copy over one relay. HAProxy (``haproxy`` in the path, TCP mode, kernel splicing)
runs on the gateway's host, where its second connection begins too, so that servers see the gateway as with a NAT. It
stands in two chains: behind the overlay, as the target of a ``nat`` application, where clients come to it the way they
come to the fast path; and alone, without overlay, encryption and copies, over the kernel's forwarding. Beside the
throughput counts what the gateway's place takes of the processors. Results go to ``bench/fast_path.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import cpu
from bench.contenders import LAB, PLAIN, Contender, forward_plainly
from bench.figures import tcp
from bench.machine import described, machine
from bench.search import Search
from bench.traffic import PORT
from bench.workloads import Pace, bulk
from lab.errors import LabError
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("fast_path.json")
NAME = "bench-fast"
ORIGIN_ADDRESS = "10.93.0.10"
GATEWAY_ADDRESS = "10.93.0.3"
"""Of the gateway's host in the origins' network; HAProxy listens there."""
CONFIGURATION = f"""
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen bulk
    bind {GATEWAY_ADDRESS}:{PORT}
    server origin {ORIGIN_ADDRESS}:{PORT}
"""
PACE = Pace(tcp=3.0, udp=0.0, echo=0.0, first=Search(0.0, 0.0, 0))
STARTS_WITHIN = 10.0


def document() -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load(LAB.read_text())
    application = given["applications"]["copies-1"]
    given["name"] = NAME
    changes: dict[str, dict[str, Any]] = {
        "nat": {},
        "fast": {"mode": "fast-path"},
        "haproxy": {"targets": [{"address": GATEWAY_ADDRESS}], "check": {"kind": "none"}},
    }
    given["applications"] = {
        name: {**deepcopy(application), "hostnames": [f"{name}.apps.example"], **changed}
        for name, changed in changes.items()
    }
    return given


@contextmanager
def contenders(directory: Path) -> Iterator[tuple[RunningLab, tuple[Contender, ...]]]:
    file = directory / "net.yaml"
    file.write_text(yaml.safe_dump(document()))
    take_down(NAME)
    with up(file, direct=True) as lab, haproxy(lab, directory) as beside:
        forward_plainly(lab)
        gateway = lab.nodes[PLAIN[2]]

        def braid(application: str, name: str, *pids: int) -> Contender:
            vip = str(vip_for(lab.topology, PLAIN[0], application)[0].address)
            return Contender(application, name, vip, processes={"gateway": (gateway, *pids)})

        each = [braid("nat", "mode nat"), braid("fast", "mode fast-path")]
        if beside:
            each.append(braid("haproxy", "HAProxy behind the overlay", beside))
            alone = {"gateway": (beside,)}
            each.append(Contender("haproxy-alone", "HAProxy without overlay", GATEWAY_ADDRESS, processes=alone))
        yield lab, tuple(each)


@contextmanager
def haproxy(lab: RunningLab, directory: Path) -> Iterator[int]:
    """Its process; 0 where it is not installed."""
    program = shutil.which("haproxy")
    if program is None:
        yield 0
        return
    file = directory / "haproxy.cfg"
    file.write_text(CONFIGURATION)
    process = lab.popen(PLAIN[2], [program, "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTS_WITHIN
        while not lab.exec(PLAIN[2], ["ss", "-ltnH", f"src {GATEWAY_ADDRESS}:{PORT}"]).stdout:
            if time.monotonic() > deadline:
                raise LabError("HAProxy does not listen")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)


def measure(lab: RunningLab, each: Sequence[Contender], rounds: int) -> dict[str, dict[str, list[float]]]:
    """By direction and contender: Gbit/s, and CPU seconds of the gateway's place per GB."""
    found: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for direction in ("down", "up"):
            for contender in each:
                before = cpu.of_each(contender.processes)
                began = time.monotonic()
                rate = bulk(lab, contender, PACE)[f"TCP {direction} 1"]()[tcp(direction, 1)]
                used = cpu.of_each(contender.processes)["gateway"] - before["gateway"]
                gigabytes = rate * PACE.tcp / 8
                line = found.setdefault(f"{direction} {contender.key}", {"gbit_s": [], "cpu_s_per_gb": []})
                line["gbit_s"].append(round(rate, 3))
                line["cpu_s_per_gb"].append(round(used / gigabytes, 3))
                print(
                    f"{turn + 1}/{rounds} {direction:4} {contender.name:28} {rate:6.2f} Gbit/s, gateway's place "
                    f"{used / gigabytes:.2f} CPU s/GB ({time.monotonic() - began:.1f} s)",
                    flush=True,
                )
    return found


def summary(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, float]]:
    """What was asked for, by medians: throughput of the fast path over that of others, and what their gateway's place
    takes of the processors for a byte over what the fast path's takes."""
    ratios: dict[str, dict[str, float]] = {}
    for direction in ("down", "up"):
        fast = {figure: statistics.median(values) for figure, values in found[f"{direction} fast"].items()}
        for other in ("nat", "haproxy", "haproxy-alone"):
            line = found.get(f"{direction} {other}")
            if line is not None:
                ratios[f"{direction}, {other}"] = {
                    "throughput": round(fast["gbit_s"] / statistics.median(line["gbit_s"]), 3),
                    "cpu": round(statistics.median(line["cpu_s_per_gb"]) / fast["cpu_s_per_gb"], 3),
                }
    return ratios


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fast_path", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="leave bench/fast_path.json as it is")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory, contenders(Path(directory)) as (lab, each):
        found = measure(lab, each, options.rounds)
    results = {"machine": described(machine()), "ratios": summary(found), "values": found}
    print(json.dumps(results["ratios"], indent=2))
    if not options.no_write:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
