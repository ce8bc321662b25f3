"""``python -m bench.dns.server PORT NAMES EDGES PREFIXES SEED``: the DNS service of a large world until it is ended."""

from __future__ import annotations

import gc
import sys

import trio

from bench.dns.world import World, config_of
from dns.health import HealthTable
from dns.node import serve


def main(arguments: list[str]) -> None:
    port, names, edges, prefixes, seed = (int(text) for text in arguments)
    config = config_of(World(names, edges, prefixes, seed), port)
    gc.freeze()
    trio.run(serve, config, HealthTable())


if __name__ == "__main__":
    main(sys.argv[1:])
