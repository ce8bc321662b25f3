"""``python -m bench.dns.failover`` (root): how long a killed edge stays in the answers of two DNS nodes.

Both edges of the demo in turn: kill -9, ask both DNS nodes every 10 ms for the client that the edge serves, until
neither names its VIP any more; then the edge is started again and given to its clients again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING

from bench.dns.pair import CLIENTS, SERVERS, Asker, pair, wait_until
from bench.dns.stored import percentile, store
from topology.vips import vip_for

if TYPE_CHECKING:
    from lab.running import RunningLab

ANSWERED = 0.01
"""Seconds between two rounds of questions."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dns.failover", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--store", action="store_true", help="keep the figures in bench/dns/steering.json")
    options = parser.parse_args()
    with pair() as lab:
        took = [gone_after(lab, list(CLIENTS)[run % len(CLIENTS)]) for run in range(options.runs)]
    figures = {
        "runs": len(took),
        "p50_s": round(statistics.median(took), 2),
        "p99_s": round(percentile(took, 0.99), 2),
        "max_s": round(max(took), 2),
    }
    print(" ".join(f"{each:.2f}" for each in took))
    print(f"a killed edge is out of both nodes' answers after {figures}")
    if options.store:
        store("killed edge out of the answers of all DNS nodes", figures)
    return 0


def gone_after(lab: RunningLab, edge: str) -> float:
    """Seconds from the kill to the first round in which no DNS node names the edge."""
    vips = {str(vip.address) for vip in vip_for(lab.topology, edge, "shop")}
    with Asker(lab, CLIENTS[edge]) as asker:

        def named() -> list[bool]:
            """Per DNS node; one that does not answer counts as naming it."""
            network = "1" if CLIENTS[edge] == "client" else "2"
            answers = [asker.ask(server.replace("10.91.1.", f"10.91.{network}.")) for server in SERVERS.values()]
            return [answer is None or bool(vips & set(answer.addresses)) for answer in answers]

        wait_until(f"{edge} is named by all", lambda: all(named()))
        time.sleep(1.0)
        lab.kill(edge)
        began = time.monotonic()
        while any(named()):
            if time.monotonic() - began > 30:
                raise TimeoutError(f"{edge} is still named after 30 s")
            time.sleep(ANSWERED)
        took = time.monotonic() - began
        lab.start(edge)
        lab.wait_ready(edge)
    return took


if __name__ == "__main__":
    sys.exit(main())
