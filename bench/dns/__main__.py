"""``python -m bench.dns``: how fast a DNS node answers, beside NSD in the same run; with ``--fuzz N`` what N mutated
packets do to it."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench.dns.fuzz import fuzz
from bench.dns.load import Load, Unavailable, braid, measure, nsd, write_questions
from bench.dns.world import World, config_of, responder_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dns", description=__doc__)
    parser.add_argument(
        "--fuzz", type=int, metavar="N", help="send N mutated packets, in memory, and measure nothing else"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="turns of every server")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    parser.add_argument("--rate", type=int, help="queries per second instead of as many as there can be")
    options = parser.parse_args()
    if options.fuzz:
        return _fuzz(options.fuzz, options.seed)
    try:
        loads = _loads(World(seed=options.seed), options.rounds, options.seconds, options.rate)
    except Unavailable as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    medians: dict[str, float] = {}
    for server in dict.fromkeys(load.server for load in loads):
        own = [load for load in loads if load.server == server]
        medians[server] = statistics.median(load.per_second for load in own)
        turns = " ".join(f"{load.per_second / 1000:.1f}" for load in own)
        mean = statistics.median(load.mean_us for load in own)
        lost = sum(load.lost for load in own)
        print(f"{server:6} {medians[server] / 1000:7.1f} thousand/s [{turns}], mean {mean:.0f} us, {lost} lost")
    if len(medians) == 2:
        print(f"braid answers {medians['braid'] / medians['nsd']:.0%} of what nsd answers")
    return 0


def _loads(world: World, rounds: int, seconds: float, rate: int | None) -> list[Load]:
    loads: list[Load] = []
    with tempfile.TemporaryDirectory() as directory:
        questions = Path(directory) / "questions"
        write_questions(questions, world)
        for _ in range(rounds):
            for name, start in (("braid", braid), ("nsd", nsd)):
                try:
                    with start(world) as port:
                        loads.append(measure(name, port, questions, seconds, rate))
                except Unavailable as problem:
                    if name == "braid":
                        raise
                    print(f"bench: without nsd: {problem}", file=sys.stderr)
    return loads


def _fuzz(packets: int, seed: int) -> int:
    world = World(names=20, edges=5, prefixes=200, seed=seed)
    outcome = fuzz(responder_of(config_of(world, 53)), world.hostnames[:3], packets, seed)
    for found, count in sorted(outcome.outcomes.items()):
        print(f"{found:12} {count}")
    print(f"{outcome.packets} packets in {outcome.seconds:.1f} s, worst {outcome.worst * 1e6:.0f} us, nothing raised")
    return 0


if __name__ == "__main__":
    sys.exit(main())
