"""From measurements of links and paths between nodes to what crossing them costs, standing still in noise. Pure.

A link costs what the topology file says, and more where it is measured to be worse. Of a path from end to end, what its
links do not explain is charged to one of them: a fault that only whole paths show counts too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, TypeVar

from topology.costs import Costs, link_cost, region_cost
from topology.model import Role
from topology.steady import Steady

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from topology.model import HealthSettings, Topology

LINK_KEPT = 60.0
"""Seconds for which a link of which nothing is heard any more keeps its cost."""
LOAD_STEP = 0.2
"""Busy share by which a node's load must differ before it counts."""

NodePair = tuple[str, str]
"""From, to."""
Nodes = tuple[str, ...]
"""All nodes of a path, both ends included."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured now, one way; None: not measured."""

    delay_ms: float | None = None
    loss: float | None = None
    """0 to 1."""


@dataclass(slots=True)
class _Subject:
    heard: float
    delay: Steady | None = None
    loss: Steady | None = None
    before: Measure = field(default_factory=Measure)
    """The sample before: bad news must be in two in a row, so that a single lost probe is none."""


Key = TypeVar("Key", bound="Hashable")


class _Held(Generic[Key]):
    """Measures that stand still while nothing changes that matters, by a key of the caller's."""

    def __init__(self, kept: float, settings: HealthSettings) -> None:
        self._kept = kept
        self._settings = settings
        self._subjects: dict[Key, _Subject] = {}

    def observe(self, measures: Mapping[Key, Measure], now: float) -> None:
        for key, measure in measures.items():
            subject = self._subjects.setdefault(key, _Subject(now))
            if measure.delay_ms is not None:
                self._delay(subject, measure.delay_ms, now)
            if measure.loss is not None:
                self._loss(subject, measure.loss, now)
            subject.heard, subject.before = now, measure
        for key in [key for key, subject in self._subjects.items() if now - subject.heard > self._kept]:
            del self._subjects[key]

    def __getitem__(self, key: Key) -> Measure:
        subject = self._subjects.get(key)
        if subject is None:
            return Measure()
        return Measure(subject.delay.value if subject.delay else None, subject.loss.value if subject.loss else None)

    def relapses(self, key: Key) -> int:
        subject = self._subjects.get(key)
        states = (subject.delay, subject.loss) if subject else ()
        return max((state.relapses for state in states if state), default=0)

    def _delay(self, subject: _Subject, delay: float, now: float) -> None:
        if subject.delay is None:
            subject.delay = Steady(delay, now)
            return
        limits, value = self._settings, abs(subject.delay.value)
        sample = _confirmed(delay, subject.before.delay_ms, subject.delay.value)
        jump = max(limits.delay_bad * value, limits.delay_bad_ms)
        drift = max(limits.delay_good * value, limits.delay_good_ms)
        subject.delay.observe(sample, now, jump, drift, limits)

    def _loss(self, subject: _Subject, loss: float, now: float) -> None:
        if subject.loss is None:
            subject.loss = Steady(0.0, now)
        limits, value = self._settings, subject.loss.value
        # At 20 % of loss, 21 % is no news.
        jump = max(limits.loss_bad, value / 2)
        subject.loss.observe(
            _confirmed(loss, subject.before.loss, value), now, jump, max(limits.loss_good, value / 4), limits
        )


def _confirmed(sample: float, before: float | None, value: float) -> float:
    """Of two samples in a row the better one, as far as they are worse than the value."""
    return sample if sample <= value else max(value, min(sample, value if before is None else before))


class Health:
    """``node`` is the one that chooses; all names are those of ``topology``."""

    def __init__(self, topology: Topology, node: str) -> None:
        self._topology = topology
        self._region = topology.nodes[node].region
        self._links: _Held[NodePair] = _Held(LINK_KEPT, topology.health)
        self._paths: _Held[Nodes] = _Held(topology.health.longest_hold, topology.health)
        self._loads: dict[str, Steady] = {}
        self._declared = {pair: link.cost for link in topology.links for pair in ((link.a, link.b), (link.b, link.a))}
        self._told: dict[tuple[str, str], float] = dict(self._declared)
        middle = [region for region in topology.regions.values() if region.role is Role.INTERMEDIATE]
        self._tolls = {region.name: region.price for region in middle}
        self._nodes: dict[NodePair, float] = {}
        self._used: dict[Nodes, float] = {}

    @property
    def loads(self) -> dict[str, float]:
        """Busy share by node; it stands still in noise."""
        return {name: steady.value for name, steady in self._loads.items()}

    def node_cost(self, here: str, there: str) -> float | None:
        """Of the link between two nodes; None where nothing is measured."""
        return self._nodes.get((here, there))

    def link(self, here: str, there: str) -> Measure:
        return self._links[here, there]

    def path(self, nodes: Nodes) -> Measure:
        """One way and from end to end, as it is counted."""
        return self._paths[nodes]

    def flaps(self, here: str, there: str) -> int:
        """How often the link got bad again soon after it got better."""
        return self._links.relapses((here, there))

    def observe(
        self,
        links: Mapping[NodePair, Measure],
        round_trips: Mapping[Nodes, Measure],
        loads: Mapping[str, float],
        now: float,
    ) -> Costs:
        """Returns what changed, for ``Planner.update``.

        ``links`` are one way; ``round_trips`` holds the paths of this node that are measured from end to end, with the
        round trip as their delay: there on this path, back on the peer's quickest.
        """
        known = {pair: measure for pair, measure in links.items() if self._is_link(*pair)}
        self._links.observe(known, now)
        paths = {nodes: m for nodes, m in round_trips.items() if all(name in self._topology.nodes for name in nodes)}
        self._paths.observe(one_way(paths, known), now)
        for nodes in paths:
            self._used[nodes] = now
        kept = self._topology.health.longest_hold
        self._used = {nodes: seen for nodes, seen in self._used.items() if now - seen <= kept}
        self._nodes = self._link_costs(known)
        self._observe_loads(loads, now)
        return self._changed()

    def _is_link(self, here: str, there: str) -> bool:
        nodes = self._topology.nodes
        return here in nodes and there in nodes and (nodes[here].region, nodes[there].region) in self._declared

    def _link_costs(self, known: Mapping[NodePair, Measure]) -> dict[NodePair, float]:
        plain = {}
        for here, there in {*known, *self._nodes}:
            held = self._links[here, there]
            if held.delay_ms is not None or held.loss is not None:
                plain[here, there] = self._cost(here, there, held)
        extra: dict[NodePair, float] = {}
        surplus = {nodes: self._surplus(nodes, plain) for nodes in self._used}
        for nodes, cost in surplus.items():
            if cost > 0:
                pair = _culprit(nodes, cost, surplus)
                extra[pair] = max(extra.get(pair, 0.0), cost)
        return plain | {pair: plain.get(pair, self._floor(*pair)) + cost for pair, cost in extra.items()}

    def _cost(self, here: str, there: str, held: Measure) -> float:
        return link_cost(max(self._floor(here, there), held.delay_ms or 0.0), held.loss or 0.0)

    def _floor(self, here: str, there: str) -> float:
        nodes = self._topology.nodes
        return self._declared.get((nodes[here].region, nodes[there].region), 0.0)

    def _surplus(self, nodes: Nodes, plain: Mapping[NodePair, float]) -> float:
        """What the path costs beyond its links."""
        held = self._paths[nodes]
        whole = link_cost(held.delay_ms or 0.0, held.loss or 0.0)
        return max(0.0, whole - sum(plain.get(pair, self._floor(*pair)) for pair in pairwise(nodes)))

    def _observe_loads(self, loads: Mapping[str, float], now: float) -> None:
        for name in self._loads.keys() - loads.keys():
            del self._loads[name]
        for name, load in loads.items():
            steady = self._loads.setdefault(name, Steady(0.0, now))
            steady.observe(load, now, LOAD_STEP, LOAD_STEP, self._topology.health)

    def _changed(self) -> Costs:
        links = dict(self._declared)
        found: dict[tuple[str, str], float] = {}
        regions = self._topology.nodes
        for (here, there), cost in self._nodes.items():
            pair = (regions[here].region, regions[there].region)
            # The best of a region's nodes counts: among them the healthy ones are chosen.
            found[pair] = min(cost, found.get(pair, cost))
        links |= found
        tolls = {name: self._toll(name) for name in self._tolls}
        changed = Costs(
            {pair: cost for pair, cost in links.items() if self._told.get(pair) != cost},
            {name: toll for name, toll in tolls.items() if self._tolls[name] != toll},
        )
        self._told, self._tolls = links, tolls
        return changed

    def _toll(self, region: str) -> float:
        loads = [self._loads[node.name].value for node in self._topology.nodes_of(region) if node.name in self._loads]
        return region_cost(self._topology.regions[region].price, min(loads, default=0.0))


def one_way(round_trips: Mapping[Nodes, Measure], links: Mapping[NodePair, Measure]) -> dict[Nodes, Measure]:
    """The delay there of each path, from its round trip.

    The way back and the difference of the clocks are the same for all paths of a peer; so what the round trip has
    beyond the links is that, and on each path whatever it has beyond the path on which this is least.
    """
    beyond: dict[Nodes, tuple[float, float]] = {}
    for nodes, measure in round_trips.items():
        delays = [links[pair].delay_ms if pair in links else None for pair in pairwise(nodes)]
        known = [delay for delay in delays if delay is not None]
        if measure.delay_ms is not None and len(known) == len(delays):
            beyond[nodes] = (measure.delay_ms - sum(known), sum(known))
    common: dict[str, float] = {}
    for nodes, (rest, _) in beyond.items():
        common[nodes[-1]] = min(rest, common.get(nodes[-1], rest))
    return {
        nodes: Measure(
            beyond[nodes][1] + beyond[nodes][0] - common[nodes[-1]] if nodes in beyond else None, measure.loss
        )
        for nodes, measure in round_trips.items()
    }


def _culprit(nodes: Nodes, surplus: float, all_of_them: Mapping[Nodes, float]) -> NodePair:
    """The last link of a path that no path with much less of a surplus crosses."""
    pairs = list(pairwise(nodes))
    clean: set[NodePair] = set()
    for other, cost in all_of_them.items():
        if cost < surplus / 2:
            clean.update(pairwise(other))
    return next((pair for pair in reversed(pairs) if pair not in clean), pairs[-1])
