"""``python -m bench.dns``: what a DNS node does under load. Results go to ``bench/dns/results.json``.

throughput   answers per second on one core, beside NSD in the same run, and whether any is lost at a fixed rate
fuzz         mutated packets through all of answering, in memory: what the worst one costs
fairness     how late other tasks of the node are woken under a flood, over UDP and pipelined over TCP
abuse        a flood in the name of one prefix and slow TCP clients: bytes out, what an honest client notices, memory
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.dns.abuse import abuse
from bench.dns.fuzz import fuzz
from bench.dns.load import Load, Unavailable, braid, measure, nsd, write_questions
from bench.dns.world import World, config_of, responder_of
from bench.machine import machine

RESULTS = Path(__file__).with_name("results.json")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dns", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("throughput")
    one.add_argument("--rounds", type=int, default=3, help="turns of every server")
    one.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    one.add_argument(
        "--rate", type=int, default=50_000, help="queries per second of the turn in which none may be lost"
    )
    one.add_argument("--steady", type=float, default=60.0, help="seconds of that turn")
    kinds.add_parser("fuzz").add_argument("--packets", type=int, default=200_000)
    kinds.add_parser("fairness").add_argument("--seconds", type=float, default=10.0)
    one = kinds.add_parser("abuse")
    one.add_argument("--seconds", type=float, default=10.0)
    one.add_argument("--rate", type=int, default=20_000, help="queries per second of the flood")
    options = parser.parse_args()
    run = {"throughput": throughput, "fuzz": fuzzing, "fairness": fairness, "abuse": abused}[options.kind]
    try:
        found = run(World(seed=options.seed), options)
    except Unavailable as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    for name, value in found.items():
        print(f"{name:24} {value}")
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    stored |= {options.kind: found, "machine": machine()}
    RESULTS.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
    return 0


def throughput(world: World, options: argparse.Namespace) -> dict[str, Any]:
    loads: list[Load] = []
    with tempfile.TemporaryDirectory() as directory:
        questions = Path(directory) / "questions"
        write_questions(questions, world)
        for _ in range(options.rounds):
            for name, start in (("braid", braid), ("nsd", nsd)):
                with start(world) as server:
                    loads.append(measure(name, server, questions, options.seconds, None))
        with braid(world) as server:
            steady = measure("braid", server, questions, options.steady, options.rate)
    turns = {name: [round(load.per_second) for load in loads if load.server == name] for name in ("braid", "nsd")}
    median = {name: statistics.median(own) for name, own in turns.items()}
    return {
        "braid_per_second": turns["braid"],
        "nsd_per_second": turns["nsd"],
        "braid_cpu_us": [round(load.cpu_us, 2) for load in loads if load.server == "braid"],
        "nsd_cpu_us": [round(load.cpu_us, 2) for load in loads if load.server == "nsd"],
        "braid_of_nsd": round(median["braid"] / median["nsd"], 3),
        "lost": sum(load.lost for load in loads if load.server == "braid"),
        "steady_per_second": round(steady.per_second),
        "steady_seconds": options.steady,
        "steady_lost": steady.lost,
        "steady_mean_us": round(steady.mean_us),
    }


def fuzzing(world: World, options: argparse.Namespace) -> dict[str, Any]:
    small = World(names=20, edges=5, prefixes=200, seed=world.seed)
    outcome = fuzz(responder_of(config_of(small, 53)), small.hostnames[:3], options.packets, world.seed)
    worst = round(outcome.worst * 1e6)
    return {"packets": outcome.packets, "raised": 0, "worst_us": worst} | dict(sorted(outcome.outcomes.items()))


def fairness(world: World, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        questions = Path(directory) / "questions"
        write_questions(questions, world)
        for transport in ("udp", "tcp"):
            with braid(world) as server:
                load = measure("braid", server, questions, options.seconds, None, transport)
            found[transport] = {"per_second": round(load.per_second), "lost": load.lost, **server.told}
    return found


def abused(world: World, options: argparse.Namespace) -> dict[str, Any]:
    small = World(names=100, edges=5, prefixes=1000, seed=world.seed)
    return asdict(abuse(small, options.seconds, options.rate, 200))


if __name__ == "__main__":
    sys.exit(main())
