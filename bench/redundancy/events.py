"""Trouble: when it begins and ends, which links it hits and how much they lose. Drawn from a regime, or recorded.

What the regimes assume (no measurement of the Internet): trouble lies around sites, hits several links of a site at
once, lasts from ten seconds to minutes, comes and goes within an event, and loses 5 to 95 %.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from bench.redundancy.world import Link, World

DAY = 86_400.0
MEDIAN_S, SIGMA, SHORTEST_S, LONGEST_S = 45.0, 0.9, 10.0, 900.0
ON_S, OFF_S = (2.0, 12.0), (0.5, 8.0)
"""Ranges of the mean times for which an event loses packets, and pauses, while it lasts."""
BLACKOUTS = 0.01
"""Share of events in which nothing passes."""


@dataclass(frozen=True, slots=True)
class Regime:
    name: str
    per_end: float
    """Events a day at each edge and gateway."""
    per_relay: float
    per_link: float
    one_provider: float
    """Share of the events at an end that hit one provider only; the others hit two or all of them."""
    all_providers: float
    shock: tuple[float, float]
    """Range of the share of an event's loss that hits all links of a provider in the same instant."""


FEW = Regime("few events", 2, 6, 0.2, 0.15, 0.70, (0.0, 0.0))
ONE_PROVIDER = Regime("one provider bad", 10, 6, 0.2, 0.60, 0.15, (0.0, 0.35))
WHOLE_SITE = Regime("whole site bad", 10, 6, 0.2, 0.15, 0.70, (0.0, 0.0))
REGIMES = (FEW, ONE_PROVIDER, WHOLE_SITE)


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which links lose packets."""

    begin: float
    end: float
    loss: dict[Link, float]
    """Each link on its own."""
    shocks: tuple[tuple[frozenset[Link], float], ...] = ()
    """Links that lose the same packets, and how many."""


class HistoryError(Exception):
    """The message names file, line and remedy."""


def draw(world: World, regime: Regime, seconds: float, rng: Random) -> list[Spell]:
    spells: list[Spell] = []
    rates = [(end, regime.per_end) for end in (*world.edges, *world.gateways)]
    rates += [(relay, regime.per_relay) for relay in world.relays]
    for site, rate in rates:
        for begin in _arrivals(rate, seconds, rng):
            links = world.links_of(site) if site in world.relays else _at_end(world, site, regime, rng)
            spells += _event(world, links, begin, rng.uniform(*regime.shock), rng)
    for link in world.delay:
        for begin in _arrivals(regime.per_link, seconds, rng):
            spells += _event(world, [link], begin, 0.0, rng)
    return [spell for spell in spells if spell.begin < seconds]


def recorded(path: Path, world: World) -> list[Spell]:
    """One JSON object per line: ``{"at": 12.5, "for": 60, "where": "mid-ams", "loss": 0.3}``; seconds, share.

    ``where`` is a region, ``REGION>REGION`` for one link and direction, or ``provider NAME``. Raises ``HistoryError``.
    """
    spells = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            begin, length, where, loss = (entry[key] for key in ("at", "for", "where", "loss"))
            if not (begin >= 0 and length > 0 and 0 < loss <= 1):
                raise ValueError("at must be 0 or more, for above 0, loss above 0 and at most 1")
        except (ValueError, KeyError, TypeError) as error:
            remedy = 'write for instance {"at": 12.5, "for": 60, "where": "mid-ams", "loss": 0.3}'
            raise HistoryError(f"{path}:{number}: {type(error).__name__}: {error}; {remedy}") from None
        links = _named(world, where)
        if not links:
            raise HistoryError(f"{path}:{number}: {where!r} is no region, link or provider; use names of the topology")
        spells.append(Spell(begin, begin + length, dict.fromkeys(links, float(loss))))
    return spells


def _named(world: World, where: str) -> list[Link]:
    if where.startswith("provider "):
        return [link for link, provider in world.provider.items() if provider == where.removeprefix("provider ")]
    here, arrow, there = where.partition(">")
    if arrow:
        return [(here, there)] if (here, there) in world.delay else []
    return world.links_of(where)


def _arrivals(per_day: float, seconds: float, rng: Random) -> Iterator[float]:
    now = 0.0
    while per_day and (now := now + rng.expovariate(per_day / DAY)) < seconds:
        yield now


def _at_end(world: World, end: str, regime: Regime, rng: Random) -> list[Link]:
    """Events that hit only the other direction are left out: one in three."""
    links = world.links_of(end)
    providers = sorted({world.provider[link] for link in links})
    kind = rng.random()
    if rng.random() < 1 / 3:
        return []
    if kind < regime.one_provider:
        hit = {rng.choice(providers)}
    elif kind < 1 - regime.all_providers:
        hit = set(rng.sample(providers, min(2, len(providers))))
    else:
        hit = set(providers)
    return [link for link in links if world.provider[link] in hit]


def _event(world: World, links: list[Link], begin: float, shock: float, rng: Random) -> Iterator[Spell]:
    """On and off for seconds each while the event lasts."""
    length = min(max(rng.lognormvariate(0.0, SIGMA) * MEDIAN_S, SHORTEST_S), LONGEST_S)
    blackout = rng.random() < BLACKOUTS
    loss = {link: 1.0 if blackout else rng.uniform(0.05, 0.95) for link in links}
    groups: dict[str, set[Link]] = {}
    for link in links:
        groups.setdefault(world.provider[link], set()).add(link)
    common = tuple((frozenset(group), shock * min(loss[link] for link in group)) for group in groups.values() if shock)
    on_mean, off_mean = rng.uniform(*ON_S), rng.uniform(*OFF_S)
    now = begin
    while now < begin + length and links:
        on = rng.expovariate(1 / on_mean)
        alone = {link: max(0.0, loss[link] * (1 - shock)) for link in links} if shock else loss
        yield Spell(now, min(now + on, begin + length), alone, common)
        now += on + rng.expovariate(1 / off_mean)
