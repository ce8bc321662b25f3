"""``python -m bench.policy_cost``: what deciding about copies costs a node, in processor time (no root).

As many peers as asked for, eight paths to each, one application with a target loss: events as the data plane gives
them, from their raw form to the decision.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from braid.core import typed_event
from braid.desired import TARGETS, PathChoice
from braid.events import Losses
from braid.redundancy.losses import TICK, Candidate
from braid.redundancy.node import Redundancy, Selection
from topology.policy import MOST_PATHS, TargetLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataplane import _native

EVERY = (1 << MOST_PATHS) - 1


def selection(peer: int) -> Selection:
    paths = range(MOST_PATHS)
    return Selection(
        {TARGETS: TargetLoss(1e-4)},
        tuple(PathChoice(path, (20 + path, peer)) for path in paths),
        tuple(Candidate(path, 10.0 + path, frozenset({f"region {path}"})) for path in paths),
    )


def told(peer: int, seconds: float, lost: int) -> _native.Losses:
    """1,000 packets per second on paths 0 and 1, ten probes on all."""
    packets = round(1000 * seconds)
    streams = [(TARGETS, 0b11, packets, lost, 0), (None, EVERY, round(10 * seconds), 0, 0)]
    delays = [(path, 5000) for path in range(MOST_PATHS)]
    sent = [(TARGETS, packets, 2 * packets, 250 * packets)]
    return ("losses", peer, seconds, streams, [(0, lost)] if lost else [], [], sent, delays)


def share(peers: int, seconds: float, every: float, lost: int) -> float:
    """Of one core, for so many seconds of events ``every`` so often."""
    redundancy = Redundancy()
    redundancy.configure({peer: selection(peer) for peer in range(1, peers + 1)}, 0.0)
    began, now = time.process_time(), 0.0
    while now < seconds:
        now += every
        for peer in range(1, peers + 1):
            event = typed_event(told(peer, every, lost))
            if isinstance(event, Losses):
                redundancy.receive(event, now)
        if redundancy.next_timeout() <= now:
            redundancy.handle_timeout(now)
    return (time.process_time() - began) / seconds


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.policy_cost", description=__doc__)
    parser.add_argument("--peers", type=int, default=50)
    peers = parser.parse_args(arguments).peers
    print(f"{peers} peers with {MOST_PATHS} paths, nothing lost: {share(peers, 120.0, 1.0, 0):.2%} of one core")
    print(f"the same, two packets lost on a path in every tick: {share(peers, 30.0, TICK, 2):.2%} of one core")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
