"""``python -m bench.planner``: what choosing paths again costs, from a few regions to ten times the goal.

Every edge to every gateway, two disjoint paths of one intermediate each out of all that there are, on one core. Costs
change as often as the table says: all of them (nothing can be kept), one link in a hundred, one in a thousand; ``row``
is what a single edge has to do when all its costs change. ``mesh`` is another network, in which paths take up to four
intermediates and nothing is kept. Times are the process's own (CPU); the least of the repeats is shown beside the
median. Results go to bench/planner.json.
"""

from __future__ import annotations

import argparse
import gc
import json
from dataclasses import asdict, dataclass, replace
from itertools import product
from math import dist
from pathlib import Path
from random import Random
from statistics import median
from time import process_time
from typing import TYPE_CHECKING

from bench.machine import described, machine
from topology.costs import Costs
from topology.model import DnsZone, Link, Region, Role, Topology
from topology.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("planner.json")
GOAL_S = 0.25
GOAL = (100, 100, 200)
SIZES = ((10, 10, 20), (32, 32, 64), GOAL, (178, 178, 200), (316, 316, 200), (316, 316, 400))
"""Edges, gateways, intermediates: the goal, ten times its pairs, and twice that work."""
PROVIDERS = 20
NEIGHBOURS = 8
COPIES = 2


@dataclass(frozen=True, slots=True)
class Row:
    edges: int
    gateways: int
    intermediates: int
    case: str
    median_s: float
    least_s: float
    chosen_again: int
    """Pairs whose choice was worked out anew."""


def overlay(edges: int, gateways: int, intermediates: int, rng: Random) -> Topology:
    """Regions on a plane; every edge and gateway reaches every intermediate, at the distance in milliseconds and a bit.

    Each intermediate is in the network of one of 20 providers.
    """
    regions = [Region(f"e{number:04}", Role.EDGE, "", frozenset()) for number in range(edges)]
    regions += [Region(f"g{number:04}", Role.GATEWAY, "", frozenset()) for number in range(gateways)]
    ends = [region.name for region in regions]
    middle = [
        Region(f"m{number:04}", Role.INTERMEDIATE, "", frozenset(), f"p{rng.randrange(PROVIDERS)}", rng.uniform(0, 2))
        for number in range(intermediates)
    ]
    names = {region.name: region for region in (*regions, *middle)}
    place = {name: (rng.uniform(0, 60), rng.uniform(0, 30)) for name in names}
    links = tuple(
        Link(end, region.name, dist(place[end], place[region.name]) + rng.uniform(0.5, 3))
        for end in ends
        for region in middle
    )
    return Topology("bench", names, {}, links, {}, (), DnsZone("apps.example", 30, "hostmaster.apps.example"))


def mesh(edges: int, gateways: int, intermediates: int, rng: Random) -> Topology:
    """The same regions, but each has links to the nearest eight intermediates only: paths take up to four of them."""
    full = overlay(edges, gateways, intermediates, rng)
    place = {name: (rng.uniform(0, 60), rng.uniform(0, 30)) for name in full.regions}
    middle = [name for name, region in full.regions.items() if region.role is Role.INTERMEDIATE]
    costs: dict[tuple[str, str], float] = {}
    for name in full.regions:
        near = sorted((other for other in middle if other != name), key=lambda other: dist(place[name], place[other]))
        for other in near[:NEIGHBOURS]:
            one, two = sorted((name, other))
            costs[one, two] = dist(place[name], place[other]) + rng.uniform(0.5, 3)
    return replace(full, links=tuple(Link(*pair, cost) for pair, cost in costs.items()))


def measure_mesh(size: tuple[int, int, int], repeats: int, rng: Random) -> Row:
    topology = mesh(*size, rng)
    planner, times = Planner(topology), []
    ends = _ends(topology)
    for _ in range(repeats):
        costs = changed(topology, 1.0, rng)
        gc.collect()
        start = process_time()
        planner.update(costs)
        chosen = choose_all(planner, *ends)
        times.append(process_time() - start)
    return Row(*size, "mesh, all costs change", median(times), min(times), len(chosen))


def _ends(topology: Topology) -> tuple[list[str], list[str]]:
    edges, gateways = (
        [name for name, region in topology.regions.items() if region.role is role] for role in (Role.EDGE, Role.GATEWAY)
    )
    return edges, gateways


def measure(size: tuple[int, int, int], repeats: int, rng: Random) -> list[Row]:
    topology = overlay(*size, rng)
    edges, gateways = _ends(topology)
    planner = Planner(topology)
    found = []
    for case, share, sources in (
        ("all costs change", 1.0, edges),
        ("1 % of links change", 0.01, edges),
        ("0.1 % of links change", 0.001, edges),
        ("row of one edge, all change", 1.0, edges[:1]),
    ):
        choose_all(planner, sources, gateways)
        times, again = [], 0
        for _ in range(repeats):
            costs = changed(topology, share, rng)
            before = choose_all(planner, sources, gateways)
            gc.collect()
            start = process_time()
            planner.update(costs)
            after = choose_all(planner, sources, gateways)
            times.append(process_time() - start)
            again = sum(one is not other for one, other in zip(before, after, strict=True))
        found.append(Row(*size, case, median(times), min(times), again))
    return found


def changed(topology: Topology, share: float, rng: Random) -> Costs:
    """New costs, in the direction to the gateways, of this share of the links: each moves by up to a quarter."""
    links = topology.links if share == 1 else rng.sample(topology.links, max(1, round(len(topology.links) * share)))
    return Costs({_forward(link): link.cost * rng.uniform(0.75, 1.25) for link in links})


def _forward(link: Link) -> tuple[str, str]:
    return (link.a, link.b) if link.a.startswith("e") else (link.b, link.a)


def choose_all(planner: Planner, edges: Sequence[str], gateways: Sequence[str]) -> list[object]:
    return [planner.choose(edge, gateway, COPIES) for edge, gateway in product(edges, gateways)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.planner", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--goal-only", action="store_true", help="only 100 x 100 x 200, and store nothing")
    options = parser.parse_args()
    rng = Random(options.seed)
    before = machine()
    rows: list[Row] = []
    print(f"{'edges x gateways x intermediates':34} {'case':28} {'median':>9} {'least':>9} {'chosen again':>13}")
    for size in (GOAL,) if options.goal_only else SIZES:
        found = measure(size, options.repeats, rng)
        if size <= GOAL:
            found.append(measure_mesh(size, options.repeats, rng))
        for row in found:
            rows.append(row)
            shape = " x ".join(str(number) for number in size)
            times = f"{row.median_s * 1000:6.0f} ms {row.least_s * 1000:6.0f} ms"
            print(f"{shape:34} {row.case:28} {times} {row.chosen_again:13}", flush=True)
    goal = next(row for row in rows if (row.edges, row.gateways, row.intermediates) == GOAL)
    met = goal.median_s <= GOAL_S
    verdict = "met" if met else "MISSED"
    print(f"goal: {goal.case} at {' x '.join(map(str, GOAL))} in at most {GOAL_S * 1000:.0f} ms: {verdict}")
    if not options.goal_only:
        document = {
            "machine": before,
            "seed": options.seed,
            "repeats": options.repeats,
            "rows": [asdict(row) for row in rows],
        }
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        print(f"{described(before)}; stored in {RESULTS.name}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
