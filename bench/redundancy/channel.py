"""What happens to each packet on each path of a flow, tick by tick.

A tick has ``SLOTS`` instants at which a packet is sent on every path; a path's fate in it is a bit mask, one bit for
each packet that is lost. All schemes look at the same masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log, log1p
from typing import TYPE_CHECKING

from braid.redundancy.losses import TICK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from bench.redundancy.events import Spell
    from bench.redundancy.world import Flow, Link

PACKETS = 10
"""Of the application in a tick."""
PROBE = 1 << PACKETS
SLOTS = PACKETS + 1
DATA = PROBE - 1
QUIET_TICKS = 10
"""Longest time without losses that is told at once."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """``count`` ticks from number ``first`` on; more than one only where nothing is lost."""

    first: int
    count: int
    masks: dict[int, int]
    """Path -> lost packets. Without paths that lost nothing."""


@dataclass(frozen=True, slots=True)
class _State:
    alone: tuple[float, ...]
    """Loss of each path on its own."""
    shocks: tuple[tuple[tuple[int, ...], float], ...]
    """Paths that lose the same packets, and how many."""
    trouble: bool


def run(flow: Flow, spells: Sequence[Spell], background: dict[Link, float], ticks: int, rng: Random) -> Iterator[Ticks]:
    changes = sorted({0, ticks, *(min(ticks, _tick(at)) for spell in spells for at in (spell.begin, spell.end))})
    by_begin = sorted((spell for spell in spells if _concerns(flow, spell)), key=lambda spell: spell.begin)
    active: list[Spell] = []
    upcoming = iter(by_begin)
    following = next(upcoming, None)
    for begin, end in pairwise(changes):
        while following is not None and _tick(following.begin) <= begin:
            active.append(following)
            following = next(upcoming, None)
        active = [spell for spell in active if _tick(spell.end) > begin]
        state = _state(flow, active, background)
        yield from _troubled(state, begin, end, rng) if state.trouble else _quiet(state, begin, end, rng)


def _tick(seconds: float) -> int:
    return ceil(seconds / TICK)


def _concerns(flow: Flow, spell: Spell) -> bool:
    links = {link for path in range(len(flow.relays)) for link in flow.links(path)}
    return not links.isdisjoint(spell.loss)


def _state(flow: Flow, active: Sequence[Spell], background: dict[Link, float]) -> _State:
    alone = []
    for path in range(len(flow.relays)):
        kept = 1.0
        for link in flow.links(path):
            kept *= 1 - background[link]
            for spell in active:
                kept *= 1 - spell.loss.get(link, 0.0)
        alone.append(1 - kept)
    shocks = []
    for spell in active:
        for links, loss in spell.shocks:
            hit = tuple(path for path in range(len(flow.relays)) if not links.isdisjoint(flow.links(path)))
            if hit and loss:
                shocks.append((hit, loss))
    return _State(tuple(alone), tuple(shocks), bool(active))


def _troubled(state: _State, begin: int, end: int, rng: Random) -> Iterator[Ticks]:
    paths = list(enumerate(state.alone))
    clean = [(1 - loss) ** SLOTS for loss in state.alone]
    for tick in range(begin, end):
        masks = {path: _mask(loss, rng) for path, loss in paths if rng.random() >= clean[path]}
        for hit, loss in state.shocks:
            mask = _any(loss, rng)
            if mask:
                for path in hit:
                    masks[path] = masks.get(path, 0) | mask
        yield Ticks(tick, 1, masks)


def _quiet(state: _State, begin: int, end: int, rng: Random) -> Iterator[Ticks]:
    """From loss to loss: the time between them is geometric."""
    lost: dict[int, dict[int, int]] = {}
    slots = (end - begin) * SLOTS
    for path, loss in enumerate(state.alone):
        slot = -1
        while loss and (slot := slot + 1 + int(log(1 - rng.random()) / log1p(-loss))) < slots:
            masks = lost.setdefault(begin + slot // SLOTS, {})
            masks[path] = masks.get(path, 0) | 1 << slot % SLOTS
    now = begin
    for tick in (*sorted(lost), end):
        while now < tick:
            count = min(QUIET_TICKS, tick - now)
            yield Ticks(now, count, {})
            now += count
        if tick < end:
            yield Ticks(tick, 1, lost[tick])
            now = tick + 1


def _mask(loss: float, rng: Random) -> int:
    """At least one bit."""
    while not (mask := _any(loss, rng)):
        pass
    return mask


def _any(loss: float, rng: Random) -> int:
    random = rng.random
    mask = 0
    for slot in range(SLOTS):
        if random() < loss:
            mask |= 1 << slot
    return mask
