"""From topology and link states to the neighbours and path sets the data plane is given. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from braid.candidates import as_candidate, candidate_routes
from braid.desired import MAX_PATH_ID, Neighbour, PathChoice, PathSet
from braid.joint import JointLosses
from braid.measured import own_links, own_paths
from braid.redundancy.node import Selection
from braid.status.paths import Chosen
from topology.costs import Costs
from topology.graph import BESIDE, neighbour_counts, neighbours
from topology.health import Health
from topology.model import NodeNumber, PortRange, Role, SocketAddress, Topology
from topology.paths import node_routes
from topology.planner import Planner
from topology.why import why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from braid.desired import PortMatch
    from braid.measured import Reports
    from topology.health import NodePair, Nodes
    from topology.held import Measure
    from topology.paths import Route, Routes
    from topology.policy import TargetLoss

Wish = tuple[str, int]
"""A peer's name, and a number of copies that go there."""
OVERHEAD_IPV4 = 76
"""Outer IPv4 and UDP headers, hop header and AEAD tag; docs/wire.md."""
OVERHEAD_IPV6 = 96
MAX_INNER_MTU = 1420
SPARES = 2
"""Paths that stand by for each set, where there are so many."""


def inner_mtu(topology: Topology) -> int:
    """The MTU of every TUN of this Braid in bytes: one for all, so that what enters somewhere can leave anywhere."""
    carriers = [node for node in topology.nodes.values() if node.role not in BESIDE]
    overhead = OVERHEAD_IPV6 if any(host.version == 6 for node in carriers for host in node.underlay) else OVERHEAD_IPV4
    return min([MAX_INNER_MTU, *(node.mtu - overhead for node in carriers)])


def plan_neighbours(topology: Topology, name: str) -> tuple[Neighbour, ...]:
    """Neighbours that share an address family with the node, and where they are.

    Of two neighbours the one with more of them probes by its own clock, and the other one answers: so what comes to a
    node with very many neighbours comes together, and wakes it less often.
    """
    own, counts = topology.nodes[name], neighbour_counts(topology)
    families = {host.version for host in own.underlay}
    found = []
    for node in neighbours(topology, name):
        addresses = [str(SocketAddress(host, node.port)) for host in node.underlay if host.version in families]
        if addresses:
            leads = (counts[node.name], -node.number) > (counts[name], -own.number)
            found.append(Neighbour(node.number, tuple(addresses), leads))
    return tuple(found)


def is_direct(topology: Topology, name: str, peer: str) -> bool:
    """Whether an end-to-end peer is reached without intermediates: content proxies are neighbours of their peers, and
    gateways of a region of each other."""
    own, other = topology.nodes[name], topology.nodes[peer]
    return Role.CONTENT in (own.role, other.role) or own.region == other.region


def plan_shards(topology: Topology, name: str, peers: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """Number of shards of every neighbour and peer that has more than one."""
    met = {node.name: node for node in neighbours(topology, name)} | {peer: topology.nodes[peer] for peer in peers}
    return tuple(sorted((int(node.number), node.shards) for node in met.values() if node.shards > 1))


def port_matches(ports: tuple[PortRange, ...]) -> tuple[PortMatch, ...]:
    return tuple((port.protocol.value, port.low, port.high) for port in ports)


class PathIds:
    """Gives each (peer, route) a number 0..15 that it keeps while the process lives.

    A seventeenth route to one peer takes over the number that has been out of use for longest.
    """

    def __init__(self) -> None:
        self._known: dict[int, dict[tuple[int, ...], int]] = {}

    def assign(self, peer: int, routes: tuple[tuple[int, ...], ...]) -> tuple[PathChoice, ...]:
        """Numbers for the routes now in use, at most 16. They must differ."""
        known = self._known.setdefault(peer, {})
        for route in routes:
            number = known.pop(route, None)
            if number is None:
                free = set(range(MAX_PATH_ID + 1)) - set(known.values())
                number = min(free) if free else known.pop(next(old for old in known if old not in routes))
            # Taken out and put back: the order of the dictionary is the order of last use.
            known[route] = number
        return tuple(PathChoice(known[route], route) for route in routes)


NO_TARGETS: Mapping[str, Mapping[int, TargetLoss]] = {}


def _nothing(_peer: NodeNumber) -> frozenset[int]:
    return frozenset()


class PathPlanner:
    """Chooses paths from node to node, by what was measured, and keeps what it worked out from one time to the next.

    After each ``plan``, ``overlaps`` says what paths share that should share nothing: peer name -> words, and
    ``selections`` what applications with a target have to choose from: peer number -> policies and paths.
    """

    def __init__(self) -> None:
        self._ids = PathIds()
        self._planner: Planner | None = None
        self._health: Health | None = None
        self._kept: dict[Wish, tuple[tuple[str, ...], ...]] = {}
        """Regions of the paths that were chosen last."""
        self._pairs: dict[tuple[str, str], float] = {}
        self._joint = JointLosses()
        self._looked: Mapping[int, Any] = {}
        """Entries of links in the last snapshot, by number."""
        self.chosen: dict[Wish, Routes] = {}
        """What the last plan chose."""
        self._reasons: dict[Wish, str] = {}
        self.overlaps: dict[str, tuple[str, ...]] = {}
        self.selections: dict[int, Selection] = {}
        self._candidates: dict[str, tuple[tuple[str, ...], ...]] = {}
        """Regions of the paths that were to choose from, by peer."""

    def observe(
        self,
        topology: Topology,
        name: str,
        links: Mapping[NodePair, Measure],
        paths: Mapping[Nodes, Measure],
        loads: Mapping[str, float],
        now: float,
        pairs: Mapping[tuple[str, str], float] | None = None,
    ) -> bool:
        """Take in what was measured (``Health.observe``), and charges for pairs of regions. True when it may change a
        choice."""
        planner, health = self._of(topology, name)
        loads_before = health.loads
        changed = health.observe(links, paths, loads, now)
        costs = Costs(changed.links, changed.regions, pairs or {})
        self._pairs |= costs.pairs
        if costs != Costs():
            planner.update(costs)
            self._reasons.clear()
        return costs != Costs() or health.loads != loads_before

    def look(self, topology: Topology, name: str, snapshot: Mapping[str, Any], told: Reports, now: float) -> bool:
        """The same with the core's snapshot, and what others told. Nothing is new of a link whose entry is that of the
        last time."""
        self._joint.observe(snapshot, now)
        self._of(topology, name)
        before, entries = self._looked, snapshot.get("neighbours", ())
        self._looked = {entry["node"]: entry for entry in entries}
        fresh = [entry for entry in entries if before.get(entry["node"]) is not entry]
        links = {**told.links, **own_links(topology, name, fresh)}
        paths = own_paths(topology, name, snapshot)
        return self.observe(topology, name, links, paths, told.loads, now, self._joint.costs(topology))

    def reasons(self, topology: Topology, name: str, sets: Iterable[PathSet]) -> dict[tuple[int, int], Chosen]:
        """Why these sets were chosen, and what they lose together: by the numbers of peer and set."""
        names = {int(node.number): node.name for node in topology.nodes.values()}
        found = {}
        for each in sets:
            if (peer := names.get(each.peer)) is not None:
                lost = self._joint.of(each.peer, [path.route for path in each.paths])
                found[each.peer, each.set] = Chosen(self.why(name, peer, each.set), lost.probes, lost.both)
        return found

    def why(self, name: str, peer: str, copies: int) -> str:
        """The reason for the choice of this node, for people; empty where nothing was chosen."""
        wish = (peer, copies)
        chosen = self.chosen.get(wish)
        if chosen is None or self._planner is None:
            return ""
        if wish not in self._reasons:
            regions = [self._planner.topology.nodes[each].region for each in (name, peer)]
            self._reasons[wish] = why(
                self._planner, regions[0], regions[1], copies, without=chosen.without, kept=chosen.regions
            )
        return self._reasons[wish]

    def _of(self, topology: Topology, name: str) -> tuple[Planner, Health]:
        if self._planner is None or self._health is None or self._planner.topology is not topology:
            before, self._planner, self._health = self._health, Planner(topology), Health(topology, name)
            self._kept, self._looked = {}, {}
            if before is not None:
                measured = self._health.take_over(before)
                self._planner.update(Costs(measured.links, measured.regions, self._pairs))
        return self._planner, self._health

    def plan(
        self,
        topology: Topology,
        name: str,
        peers: Mapping[str, frozenset[int]],
        usable: Callable[[str], bool],
        avoid: Callable[[NodeNumber], frozenset[int]] = _nothing,
        targets: Mapping[str, Mapping[int, TargetLoss]] = NO_TARGETS,
    ) -> tuple[PathSet, ...]:
        """One set of paths per peer and number of copies.

        ``usable`` says which neighbours answer: paths over others are used only towards a peer that nothing else leads
        to. ``avoid`` names, for a peer, nodes on paths that do not arrive: they are used only for want of as many
        others. Spare paths cross no region of their set. ``targets`` are the policies of sets to a peer whose paths are
        chosen by what they lose.
        """
        planner, health = self._of(topology, name)
        sets = []
        self.overlaps, self.selections, self.chosen = {}, {}, {}
        self._reasons.clear()
        for peer, wishes in sorted(peers.items()):
            number = topology.nodes[peer].number
            if is_direct(topology, name, peer):
                sets += [PathSet(number, copies, (PathChoice(0, (int(number),)),)) for copies in sorted(wishes)]
                continue
            broken = {node.name for node in topology.nodes.values() if node.number in avoid(number)}
            found = {}
            for copies in sorted(wishes):
                choose = partial(
                    node_routes, planner, name, peer, copies, health=health, kept=self._kept.get((peer, copies), ())
                )
                found[copies] = self.chosen[peer, copies] = _routes(choose, copies, usable, broken)
                self._kept[peer, copies] = found[copies].regions
            overlap = dict.fromkeys(word for chosen in found.values() for word in chosen.overlap)
            if overlap:
                self.overlaps[peer] = tuple(overlap)
            routes = {copies: tuple(_numbers(route) for route in chosen.routes) for copies, chosen in found.items()}
            spares = {copies: _spares(planner, name, peer, chosen.routes, usable) for copies, chosen in found.items()}
            policies = targets.get(peer, {})
            open_to = self._open_to(planner, health, name, peer, policies, usable) if policies else ()
            candidates = {0: tuple(_numbers(route) for route in open_to)}
            distinct = tuple(
                dict.fromkeys(
                    route for each in (routes, candidates, spares) for chosen in each.values() for route in chosen
                )
            )
            choices = {choice.route: choice for choice in self._ids.assign(number, distinct[: MAX_PATH_ID + 1])}
            for copies, chosen in routes.items():
                members = tuple(choices[route] for route in chosen if route in choices)
                if members:
                    standing_by = tuple(choices[route] for route in spares[copies] if route in choices)
                    sets.append(PathSet(number, copies, members, standing_by))
            if open_to:
                paths = [(choices[_numbers(route)], route) for route in open_to if _numbers(route) in choices]
                known = tuple(as_candidate(topology, choice, route) for choice, route in paths)
                self.selections[int(number)] = Selection(policies, tuple(choice for choice, _ in paths), known)
        return tuple(sets)

    def _open_to(
        self, planner: Planner, health: Health, name: str, peer: str, policies: Mapping[int, TargetLoss],
        usable: Callable[[str], bool],
    ) -> tuple[Route, ...]:  # fmt: skip
        copies = max(policy.max_copies for policy in policies.values())
        kept = self._candidates.get(peer, ())
        found = candidate_routes(planner, name, peer, copies, usable, health, kept)
        found = found or candidate_routes(planner, name, peer, copies, _anything, health)
        self._candidates[peer] = tuple(route.regions for route in found)
        return found


def _spares(
    planner: Planner, name: str, peer: str, chosen: tuple[Route, ...], usable: Callable[[str], bool]
) -> tuple[tuple[int, ...], ...]:
    taken = {region for route in chosen for region in route.regions}
    nodes = planner.topology.nodes
    found = node_routes(
        planner, name, peer, SPARES, usable=lambda node: usable(node) and nodes[node].region not in taken
    )
    return tuple(_numbers(route) for route in found.routes)


def _routes(choose: Callable[..., Routes], copies: int, usable: Callable[[str], bool], broken: set[str]) -> Routes:
    found = choose(usable=lambda node: usable(node) and node not in broken)
    if broken and (len(found.routes) < copies or found.overlap):
        more = choose(usable=usable)
        found = more if _protection(more) > _protection(found) else found
    return found if found.routes else choose(usable=_anything)


def _protection(routes: Routes) -> tuple[int, int]:
    return len(routes.routes), -len(routes.overlap)


def _numbers(route: Route) -> tuple[int, ...]:
    return tuple(int(hop) for hop in route.nodes)


def _anything(_node: str) -> bool:
    return True


def usable_by_number(topology: Topology, is_up: Callable[[NodeNumber], bool], name: str) -> Callable[[str], bool]:
    """``is_up`` judges neighbours of ``name``; of nodes further away nothing is known, so they count as usable."""
    adjacent = {node.name: node.number for node in neighbours(topology, name)}
    return lambda node: node not in adjacent or is_up(adjacent[node])
