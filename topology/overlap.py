"""Where there are not enough disjoint paths: those that overlap least, and what they share."""

from __future__ import annotations

from itertools import combinations
from math import inf
from operator import add
from typing import TYPE_CHECKING

from topology.search import MAX_CANDIDATES, Candidate, candidates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topology.model import Topology
    from topology.network import Network, Walk

SHARED_REGION, SHARED_PROVIDER, SHARED_GROUP = 100, 10, 1
"""Severity of one thing that two paths share. A region fails more often than a provider, a provider more often than a
cable or a building; and who shares a region shares its risks too."""
MOST_STEPS = 20_000
"""Of the search, which is exact below: about a tenth of a second."""
SPARE = 4
"""Candidates kept of each set of risks, per path asked for."""


def least_overlapping(
    network: Network,
    topology: Topology,
    source: str,
    destination: str,
    copies: int,
    room: Mapping[str, int],
) -> list[Walk]:
    """``copies`` paths that share least, of these the cheapest; empty when there are not so many.

    ``room`` is how many paths may cross a region: as many as it has usable nodes, because two copies through one node
    are no better than one.
    """
    if not _room_at_the_ends(network, source, destination, copies, room):
        return []
    found = _candidates(network, source, destination, copies, room)
    severity = _severity(network, topology)
    best: tuple[Candidate, ...] = ()
    best_worth = (inf, inf)
    steps = 0
    stack: list[tuple[int, int, float, tuple[Candidate, ...]]] = [(0, 0, 0.0, ())]
    while stack and steps < MOST_STEPS:
        position, shared, cost, chosen = stack.pop()
        missing = copies - len(chosen)
        if (shared, cost) >= best_worth:
            continue
        if missing == 0:
            best, best_worth = chosen, (shared, cost)
            continue
        for index in range(len(found) - missing, position - 1, -1):
            steps += 1
            candidate = found[index]
            more = shared + sum(_shared(candidate.mask & other.mask, severity) for other in chosen)
            entry = cost + candidate.cost + sum(network.surcharge(candidate.walk, other.walk) for other in chosen)
            full = (more, entry + candidate.cost * (missing - 1)) >= best_worth
            if not full and _fits(network, (*chosen, candidate), room):
                stack.append((index + 1, more, entry, (*chosen, candidate)))
    return [candidate.walk for candidate in best]


def overlap(network: Network, topology: Topology, walks: Sequence[Walk]) -> tuple[str, ...]:
    """What two of the paths share, in words, the gravest first; a region's own risks go without saying."""
    found: dict[str, int] = {}
    for one, other in combinations(walks, 2):
        common = set(one) & set(other)
        for number in common:
            found[f"region {network.names[number]}"] = SHARED_REGION
        for a in set(one) - common:
            for b in set(other) - common:
                first, second = (topology.regions[network.names[number]] for number in (a, b))
                for group in first.risks & second.risks:
                    provider = group in (first.provider, second.provider)
                    word = f"provider {group}" if provider else f"shared risk {group}"
                    found[word] = SHARED_PROVIDER if provider else SHARED_GROUP
    return tuple(sorted(found, key=lambda word: (-found[word], word)))


def _room_at_the_ends(network: Network, source: str, destination: str, copies: int, room: Mapping[str, int]) -> bool:
    """Whether so many paths can leave and arrive: they often cannot when neighbours are down."""
    ways = (map(add, network.leave[source], network.ahead(destination).costs), network.arrive[destination])
    for way in ways:
        numbers = [number for number, cost in enumerate(way) if cost < inf]
        if sum(room.get(network.names[number], 1) for number in numbers) < copies:
            return False
    return True


def _candidates(
    network: Network, source: str, destination: str, copies: int, room: Mapping[str, int]
) -> list[Candidate]:
    """Cheapest first; a path as often as it has nodes for."""
    found: list[Candidate] = []
    alike: dict[int, int] = {}
    for candidate in candidates(network, source, destination, useless=True):
        risks = candidate.mask >> len(network.names)
        alike[risks] = alike.get(risks, 0) + 1
        if alike[risks] <= SPARE * copies:
            found += [candidate] * min(copies, *(room.get(network.names[number], 1) for number in candidate.walk))
        if len(found) >= MAX_CANDIDATES:
            break
    return found


def _severity(network: Network, topology: Topology) -> dict[int, int]:
    """Per bit of a path's mask."""
    weight = {1 << number: SHARED_REGION for number in range(len(network.names))}
    providers = {topology.regions[name].provider for name in network.names}
    for number, name in enumerate(network.names):
        for group, bit in zip(sorted(topology.regions[name].risks), _bits(network.risk[number]), strict=True):
            weight[bit] = SHARED_PROVIDER if group in providers else SHARED_GROUP
    return weight


def _shared(mask: int, severity: Mapping[int, int]) -> int:
    return sum(severity[bit] for bit in _bits(mask))


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        bit = mask & -mask
        found.append(bit)
        mask ^= bit
    return found


def _fits(network: Network, chosen: Sequence[Candidate], room: Mapping[str, int]) -> bool:
    crossings: dict[int, int] = {}
    for candidate in chosen:
        for number in candidate.walk:
            crossings[number] = crossings.get(number, 0) + 1
    return all(count <= room.get(network.names[number], 1) for number, count in crossings.items())
