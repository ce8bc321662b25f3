"""``python -m bench.dns.server PORT NAMES EDGES PREFIXES SEED LIMIT FEED``: the DNS service of a large world until
SIGTERM; then one line of JSON: how late another task of the same process was woken, the most memory that was used, and
how often PowerDNS asked on port FEED (0: nowhere)."""

from __future__ import annotations

import gc
import json
import resource
import signal
import sys
from dataclasses import replace
from functools import partial

import trio

from bench.dns.world import World, config_of
from dns.health import HealthTable
from dns.node import DnsService, serve
from topology.model import SocketAddress

METRONOME = 0.005
"""Seconds between two beats."""


def main(arguments: list[str]) -> None:
    port, names, edges, prefixes, seed, limit, feed = (int(text) for text in arguments)
    config = config_of(World(names, edges, prefixes, seed), port, limit)
    if feed:
        config = replace(config, powerdns=SocketAddress(config.listen[0].host, feed))
    late: list[float] = []
    services: list[DnsService] = []

    async def beat() -> None:
        while True:
            due = trio.current_time() + METRONOME
            await trio.sleep_until(due)
            late.append(trio.current_time() - due)

    async def run() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                services.append(await nursery.start(partial(serve, config, HealthTable())))
                nursery.start_soon(beat)
                gc.freeze()
                async for _ in signals:
                    nursery.cancel_scope.cancel()
                    break

    trio.run(run)
    late.sort()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"beats": len(late), "p50_ms": _at(late, 0.5), "p99_ms": _at(late, 0.99), "max_ms": _at(late, 1.0)}
    if feed:
        told["calls"] = services[0].counters.powerdns.total()
    print(json.dumps(told | {"memory_mib": round(rss, 1)}), flush=True)


def _at(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1000, 3)


if __name__ == "__main__":
    main(sys.argv[1:])
