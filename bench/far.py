"""``python -m bench.far``: downloads by a client that is far from its gateway, by mode and congestion control (root).

The lab is that of ``bench.normal_path``, with a delay on each link of the overlay. The origin sends 50 MB over a new
connection, through mode ``nat``, mode ``fast-path``, a proxy of kind tcp that is spliced and one of kind http whose
long answers are; with each congestion control that namespaces may use. What a server believes of the round trip decides
how fast it sends: the figure is each mode's rate beside that of ``nat``, where both ends see each other. Results go
to ``bench/far.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import normal_path
from bench.contenders import PLAIN
from bench.machine import described, machine
from lab.impairment import Impairment
from lab.running import take_down
from lab.up import up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("far.json")
NAME = "bench-far"
MODES = {"nat": "nat", "fast": "fast-path", "plain": "tcp, spliced", "long": "http, spliced"}
CONTROLS = ("cubic", "bbr")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
"""Namespaces may choose of these; an operator adds to them with ``sysctl``."""
SIZE = "50MB"
SETTLES = 3.0
"""Seconds until the delay of the links is measured."""


def download(lab: RunningLab, application: str) -> float:
    """Megabytes per second."""
    url = f"http://{normal_path.vip(lab, application)}/object/{SIZE}"
    words = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{speed_download}", "--max-time", "60", url]
    return float(lab.exec("client", words, timeout=70).stdout) / 1e6


def measure(lab: RunningLab, control: str, rounds: int) -> dict[str, Any]:
    lab.exec("origin-1", ["sysctl", "-qw", f"net.ipv4.tcp_congestion_control={control}"])
    rates: dict[str, list[float]] = {mode: [] for mode in MODES.values()}
    for turn in range(rounds):
        for application, mode in MODES.items():
            rates[mode].append(round(download(lab, application), 1))
            print(f"{control} {turn + 1}/{rounds} {mode:14} {rates[mode][-1]:6.1f} MB/s", flush=True)
    medians = {mode: statistics.median(values) for mode, values in rates.items()}
    return {"megabytes_s": rates, "of_nat": {mode: round(rate / medians["nat"], 2) for mode, rate in medians.items()}}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.far", description=__doc__)
    parser.add_argument("--delay", type=float, default=10.0, help="milliseconds, one way, of each of two links")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="leave bench/far.json as it is")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"machine": described(machine()), "round_trip_ms": 4 * options.delay}
    take_down(NAME)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "net.yaml"
        file.write_text(yaml.safe_dump(normal_path.document() | {"name": NAME}))
        with up(file) as lab:
            for relay in PLAIN[1], "mid-par-1":
                for end in PLAIN[0], PLAIN[2]:
                    lab.impair(end, relay, Impairment(delay_ms=options.delay))
            time.sleep(SETTLES)
            for control in CONTROLS:
                if control in ALLOWED.read_text().split():
                    results[control] = measure(lab, control, options.rounds)
    print(json.dumps({control: results[control]["of_nat"] for control in CONTROLS if control in results}, indent=2))
    if not options.no_write:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
