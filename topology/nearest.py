"""The fast step of path choice: the nearest first hops, each with its cheapest way on, and whether that is optimal.

Any set of k disjoint paths begins at k intermediates that are disjoint from each other, and from each of them it costs
at least the cheapest way on. So the cheapest such k intermediates give a lower bound, and where their cheapest ways on
happen to be disjoint the bound is reached: the set is optimal. With one intermediate per path that is always so.
"""

from __future__ import annotations

from math import inf
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from topology.network import overlaps
from topology.search import Candidate, cheapest_combination

if TYPE_CHECKING:
    from topology.network import Network, Walk


class Nearest(NamedTuple):
    firsts: tuple[int, ...]
    """First intermediate of each path, cheapest first; fewer than asked for where there are no more disjoint ones."""
    regions: tuple[tuple[str, ...], ...]
    """All intermediates of each path."""
    totals: tuple[float, ...]
    """What each of them costs."""
    limit: float
    """The set stays optimal while what is not in it costs more than this and what is in it does not change."""


def nearest(network: Network, source: str, destination: str, copies: int, guess: float = -inf) -> Nearest | None:
    """The optimal set of at most ``copies`` disjoint paths, or None where this step cannot prove that it is one.

    ``guess`` of the limit saves time where it is right and changes no answer.
    """
    ahead = network.ahead(destination)
    lead = network.lead(source)
    # Whoever is not among those that the source is nearest to costs at least so much.
    beyond = lead.beyond + ahead.least
    proved = False
    if beyond > guess:
        near, costs = _smallest(list(map(add, lead.costs, lead.pick(ahead.costs))), copies)
        lowest = sum(costs[: copies - 1])
        chosen = [lead.numbers[position] for position in near]
        proved = len(near) == copies and beyond > sum(costs) - lowest
    if not proved or overlaps([network.mask[first] for first in chosen]):
        totals = list(map(add, network.leave[source], ahead.costs))
        chosen, costs = _smallest(totals, copies)
        lowest = sum(costs[: copies - 1])
        if len(chosen) < copies or overlaps([network.mask[first] for first in chosen]):
            least = costs
            totals = list(map(add, network.leave[source], ahead.costs))
            chosen = _apart(network, totals, copies)
            lowest = sum(least[: len(chosen) - 1])
            costs = [totals[first] for first in chosen]
    if not chosen:
        return Nearest((), (), (), -inf)
    limit = sum(costs) - lowest
    if not network.chained and not network.penalty:
        alone = network.alone
        return Nearest(tuple(chosen), tuple([alone[first] for first in chosen]), tuple(costs), limit)
    walks = tuple(_walk(first, ahead.onward) for first in chosen)
    if overlaps([network.occupied(walk) for walk in walks]):
        return None
    if any(network.surcharge(one, other) for position, one in enumerate(walks) for other in walks[:position]):
        return None
    return Nearest(tuple(chosen), tuple(map(network.regions, walks)), tuple(costs), limit)


def _smallest(totals: list[float], count: int) -> tuple[list[int], list[float]]:
    """Positions of the ``count`` smallest finite values in rising order, the first of equals, and these values.

    Leaves ``inf`` in their places.
    """
    found: list[int] = []
    values: list[float] = []
    while totals and len(found) < count:
        least = min(totals)
        if least == inf:
            break
        position = totals.index(least)
        totals[position] = inf
        found.append(position)
        values.append(least)
    return found, values


def _apart(network: Network, totals: list[float], copies: int) -> list[int]:
    """The cheapest first hops that share no risk, as many as there are up to ``copies``.

    Of several with risks in common only one can be chosen, so one that is dearer than another and has all of its
    risks is left out; and of those without risks only the cheapest ``copies`` can matter. Nor can any that costs more
    than the set found by taking the next that fits, less the cheapest that could stand beside it.
    """
    order = sorted(range(len(totals)), key=totals.__getitem__)
    kept: list[Candidate] = []
    risks: set[int] = set()
    fitting: list[int] = []
    union = free = 0
    limit = inf
    for first in order:
        if totals[first] > limit or totals[first] == inf:
            break
        risk = network.risk[first]
        if risk == 0:
            free += 1
            if free > copies:
                continue
        elif risk in risks or any(other & risk == other for other in risks):
            continue
        else:
            risks.add(risk)
        kept.append(Candidate(totals[first], (first,), network.mask[first]))
        if not risk & union and len(fitting) < copies:
            union |= risk
            fitting.append(first)
            if len(fitting) == copies:
                cheapest = sum([totals[other] for other in order[: copies - 1]])
                limit = sum([totals[other] for other in fitting]) - cheapest
    for count in range(min(copies, len(kept)), 0, -1):
        chosen, _ = cheapest_combination(kept, count)
        if chosen:
            return [candidate.walk[0] for candidate in chosen]
    return []


def _walk(first: int, onward: tuple[list[int], ...]) -> Walk:
    walk = [first]
    for layer in reversed(onward):
        if (following := layer[walk[-1]]) < 0:
            break
        walk.append(following)
    return tuple(walk)
