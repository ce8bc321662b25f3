"""Region-disjoint paths of least total cost: successive shortest paths (Bhandari 1999; Suurballe 1974).

Each region is split in two halves with room for one path between them. Paths are added one at a time, each by the
cheapest change of those found before; potentials keep every cost that Dijkstra sees at or above zero. Shared risks and
the length of a path are not looked at.
"""

from __future__ import annotations

import heapq
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from topology.network import Network, Walk

SOURCE, SINK = -1, -2
"""Other nodes of the split graph: 2v where region v is entered, 2v + 1 where it is left."""


def region_disjoint(network: Network, source: str, destination: str, copies: int) -> list[Walk]:
    """As many region-disjoint paths as there are, up to ``copies``, of least total cost; of equals, fewest hops."""
    flow = _Flow(network, source, destination)
    while flow.paths < copies and flow.augment():
        pass
    return flow.walks()


class _Flow:
    def __init__(self, network: Network, source: str, destination: str) -> None:
        self._network = network
        self._leave = network.leave[source]
        self._arrive = network.arrive[destination]
        self._firsts: set[int] = set()
        self._onward: dict[int, int] = {}
        """Region with flow -> the next one, or SINK."""
        self._before: dict[int, int] = {}
        """Region with flow -> the one before, or SOURCE."""
        self._potential: dict[int, float] = {}
        self.paths = 0

    def augment(self) -> bool:
        """One path more; False when there is none."""
        distance: dict[int, float] = {SOURCE: 0.0}
        parent: dict[int, int] = {}
        done: set[int] = set()
        queue = [(0.0, SOURCE)]
        potential = self._potential
        while queue:
            so_far, here = heapq.heappop(queue)
            if here in done:
                continue
            done.add(here)
            if here == SINK:
                break
            base = so_far + potential.get(here, 0.0)
            for there, cost in self._arcs(here):
                reached = base + cost - potential.get(there, 0.0)
                if there not in done and reached < distance.get(there, inf):
                    distance[there], parent[there] = reached, here
                    heapq.heappush(queue, (reached, there))
        if SINK not in done:
            return False
        final = distance[SINK]
        for number in range(2 * len(self._network.names)):
            potential[number] = potential.get(number, 0.0) + min(distance.get(number, inf), final)
        potential[SINK] = potential.get(SINK, 0.0) + final
        self._apply(parent)
        self.paths += 1
        return True

    def walks(self) -> list[Walk]:
        found = []
        for first in sorted(self._firsts):
            walk = [first]
            while (following := self._onward[walk[-1]]) != SINK:
                walk.append(following)
            found.append(tuple(walk))
        return found

    def _arcs(self, here: int) -> Iterator[tuple[int, float]]:
        """Where a path may go on: links without flow, and back along flow, which gives its cost back."""
        network = self._network
        if here == SOURCE:
            for first, cost in enumerate(self._leave):
                if cost < inf and first not in self._firsts:
                    yield 2 * first, cost
            return
        region = here // 2
        if here % 2 == 0:
            before = self._before.get(region)
            if before is None:
                yield here + 1, network.toll[region]
            elif before != SOURCE:
                yield 2 * before + 1, -network.hop[before][region]
            return
        onward = self._onward.get(region)
        if onward is not None:
            yield here - 1, -network.toll[region]
        if onward != SINK and self._arrive[region] < inf:
            yield SINK, self._arrive[region]
        for there, cost in network.hop[region].items():
            if there != onward:
                yield 2 * there, cost

    def _apply(self, parent: dict[int, int]) -> None:
        arcs = []
        here = SINK
        while here != SOURCE:
            arcs.append((parent[here], here))
            here = parent[here]
        # First what is taken back, then what is added: a region may be given up and entered again by one path.
        for here, there in arcs:
            if here >= 0 and here % 2 == 0 and there == 2 * self._before.get(here // 2, SINK) + 1:
                region, other = here // 2, there // 2
                del self._before[region]
                del self._onward[other]
        for here, there in arcs:
            if here == SOURCE:
                self._firsts.add(there // 2)
                self._before[there // 2] = SOURCE
            elif there == SINK:
                self._onward[here // 2] = SINK
            elif here % 2 == 1 and there % 2 == 0 and there // 2 != here // 2:
                self._onward[here // 2] = there // 2
                self._before[there // 2] = here // 2
