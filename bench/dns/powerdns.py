"""``python -m bench.dns.powerdns``: PowerDNS in front of a DNS node, with its caches and without.

dnsperf asks PowerDNS as resolvers do (1,000 names, the letters' case at random, one of 10,000 client prefixes with each
query), and PowerDNS asks the node, which has a processor for itself; PowerDNS and dnsperf share the other one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cpu
from bench.dns.load import CLIENT_CPU, Unavailable, braid, free_port, measure, required, running, write_questions
from bench.dns.stored import store
from bench.dns.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.dns.load import Server

SETTINGS = """\
launch=remote
remote-connection-string=http:url=http://127.0.0.1:{backend}
edns-subnet-processing=yes
disable-axfr=yes
"""
CACHES = {
    "as documented": "cache-ttl=0\nconsistent-backends=no\n",
    "without caches": "cache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\n",
}
"""What docs/powerdns.md says, and the most that a query can cost."""
SURROUNDINGS = """\
local-address=127.0.0.1
local-port={port}
socket-dir={folder}
config-dir={folder}
security-poll-suffix=
"""
WARM_UP = 3.0
"""Seconds in which names come into the caches."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dns.powerdns", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each setting")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn")
    parser.add_argument("--store", action="store_true", help="keep the figures in bench/dns/steering.json")
    options = parser.parse_args()
    try:
        figures = {caches: turns(World(), caches, options.rounds, options.seconds) for caches in CACHES}
    except Unavailable as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    for caches, found in figures.items():
        print(f"PowerDNS {caches}: {found}")
        if options.store:
            store(f"PowerDNS in front, {caches}", found)
    return 0


def turns(world: World, caches: str, rounds: int, seconds: float) -> dict[str, Any]:
    found = [_turn(world, caches, seconds) for _ in range(rounds)]
    told = {name: round(statistics.median(each[name] for each in found), 2) for name in found[0] if name != "lost"}
    return told | {"each": [round(each["per_second"]) for each in found], "lost": sum(each["lost"] for each in found)}


def _turn(world: World, caches: str, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory, braid(world, feed=True) as node:
        questions = Path(directory) / "questions"
        write_questions(questions, world)
        with _powerdns(Path(directory), node, caches, world) as front:
            first = measure("powerdns", front, questions, WARM_UP, None)
            before = cpu.seconds([node.pid])
            load = measure("powerdns", front, questions, seconds, None)
            used = cpu.seconds([node.pid]) - before
    answered = load.per_second * seconds
    return {
        "per_second": load.per_second,
        "lost": load.lost,
        "calls_per_query": node.told["calls"] / (answered + first.per_second * WARM_UP),
        "mean_ms": load.mean_us / 1000,
        "powerdns_cpu_us": load.cpu_us,
        "node_cpu_us": used / answered * 1e6,
        "node_busy": used / seconds,
        "others_late_p99_ms": node.told["p99_ms"],
        "others_late_max_ms": node.told["max_ms"],
    }


@contextmanager
def _powerdns(folder: Path, node: Server, caches: str, world: World) -> Iterator[Server]:
    port = free_port()
    text = SETTINGS + CACHES[caches] + SURROUNDINGS
    (folder / "pdns.conf").write_text(text.format(backend=node.feed, port=port, folder=folder))
    program = required("pdns_server", "pdns-server pdns-backend-remote")
    command = [program, f"--config-dir={folder}", "--daemon=no", "--guardian=no", "--setuid=", "--setgid="]
    with running(command, port, world, CLIENT_CPU) as server:
        yield server


if __name__ == "__main__":
    sys.exit(main())
