from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from random import Random

import pytest

from bench.redundancy.channel import DATA, PACKETS, SLOTS, run
from bench.redundancy.events import REGIMES, WHOLE_SITE, HistoryError, Spell, draw, recorded
from bench.redundancy.schemes import all_lost, report
from bench.redundancy.summary import lines
from bench.redundancy.trial import DYNAMIC, FLOOD, PAIR, SINGLE, play, trial
from bench.redundancy.world import World, country, from_topology
from topology.policy import TargetLoss
from topology.source import load

DEMO = Path(__file__).parents[3] / "lab" / "demo.yaml"
POLICY = {"policy": TargetLoss(1e-4)}


def world(relays: int = 4) -> World:
    names = tuple(f"m{number}" for number in range(relays))
    links = [*product(("e",), names), *product(names, ("g",))]
    provider = {link: ("a", "b")[names.index(link[1] if link[0] == "e" else link[0]) % 2] for link in links}
    return World(("e",), names, ("g",), provider, {link: 10.0 + position for position, link in enumerate(links)})


def test_losses_come_as_often_as_they_should() -> None:
    place = world()
    flow = place.flow("e", "g")
    background = dict.fromkeys(place.delay, 0.001)
    spell = Spell(100.0, 300.0, {("e", "m0"): 0.3}, ((frozenset({("e", "m1"), ("e", "m2")}), 0.1),))
    lost, together, ticks = dict.fromkeys(range(4), 0), 0, 0
    quiet = dict.fromkeys(range(4), 0)
    for each in run(flow, [spell], background, 4000, Random(1)):
        ticks += each.count
        trouble = 1000 <= each.first < 3000
        for path, mask in each.masks.items():
            (lost if trouble else quiet)[path] += mask.bit_count()
        if trouble:
            together += (each.masks.get(1, 0) & each.masks.get(2, 0)).bit_count()
    sent = 2000 * SLOTS
    assert ticks == 4000
    assert lost[0] / sent == pytest.approx(0.3014, rel=0.05)
    assert lost[1] / sent == pytest.approx(0.1018, rel=0.1)
    assert together / sent == pytest.approx(0.1, rel=0.1)
    assert all(count / sent == pytest.approx(0.002, rel=0.5) for count in (*quiet.values(), lost[3]))


def test_reports_hold_what_the_far_end_can_see() -> None:
    masks = {0: 0b11, 1: 0b01, 2: DATA}
    ticks = next(run(world().flow("e", "g"), [], dict.fromkeys(world().delay, 0.0), 1, Random(1)))
    seen = report(replace(ticks, masks=masks), frozenset({0, 1}))
    assert (seen.packets, seen.probes) == (PACKETS, 1)
    assert seen.lost == {0: 2, 1: 1}
    assert seen.both == {(0, 1): 1}
    assert (seen.repaired, seen.all_lost) == (1, 1)
    assert all_lost(masks, frozenset({0, 2})) == 2
    assert all_lost(masks, frozenset({0, 3})) == 0


def test_a_seed_gives_the_same_trial_again_and_another_one_another() -> None:
    first, again, other = (trial(WHOLE_SITE, seed, 0.5, 1, POLICY) for seed in (7, 7, 8))
    assert first == again
    assert first.tallies != other.tallies


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_the_policy_closes_most_of_the_gap_and_the_order_of_schemes_is_as_expected(regime) -> None:  # type: ignore[no-untyped-def]
    busy = replace(regime, per_end=8 * regime.per_end, per_relay=2 * regime.per_relay)
    found = {line.scheme: line for line in lines([trial(busy, seed, 2.0, 1, POLICY) for seed in range(3)])}
    gaps = {scheme: line.gap_closed.value for scheme, line in found.items()}
    assert gaps[SINGLE] == 0
    assert gaps[FLOOD] == 100
    assert gaps[PAIR] < gaps["policy"]
    assert gaps[DYNAMIC] < gaps["policy"]
    assert gaps["policy"] > 98
    assert found[PAIR].cost.value == 0
    assert 0 < found["policy"].cost.value < 25


def test_events_hit_what_the_regime_says() -> None:
    place = country(Random(1))
    spells = draw(place, WHOLE_SITE, 86_400, Random(2))
    assert spells == draw(place, WHOLE_SITE, 86_400, Random(2))
    assert all(0 <= spell.begin < spell.end for spell in spells)
    assert all(0 <= loss <= 1 for spell in spells for loss in spell.loss.values())
    ends = [spell for spell in spells if len({end for link in spell.loss for end in link}) == len(place.relays) + 1]
    assert len(ends) > len(spells) / 8


def test_an_operator_s_own_network_and_history(tmp_path: Path) -> None:
    place = from_topology(load(DEMO))
    history = tmp_path / "history"
    where = ["mid-ams", "edge-fra>mid-par", "edge-fra"]
    entries = [{"at": 10 * number, "for": 5, "where": name, "loss": 0.5} for number, name in enumerate(where)]
    history.write_text("\n".join(json.dumps(entry) for entry in entries))
    spells = recorded(history, place)
    assert [len(spell.loss) for spell in spells] == [len(place.links_of("mid-ams")), 1, 3]
    found = play(place, spells, [place.flow("edge-fra", "gw-sto")], 60.0, 1, POLICY, Random(1))
    assert found.tallies[SINGLE].lost > found.tallies[PAIR].lost >= found.tallies[FLOOD].lost > 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "JSONDecodeError"),
        ('{"at": 1, "for": 1, "where": "mid-ams"}', "loss"),
        ('{"at": 1, "for": 1, "where": "mid-ams", "loss": 2}', "at most 1"),
        ('{"at": 1, "for": 1, "where": "nowhere", "loss": 0.5}', "no region"),
        ('{"at": "x", "for": 1, "where": "mid-ams", "loss": 0.5}', "TypeError"),
    ],
)
def test_a_wrong_history_names_line_and_remedy(tmp_path: Path, line: str, says: str) -> None:
    history = tmp_path / "history"
    history.write_text(f"\n{line}\n")
    with pytest.raises(HistoryError, match=says) as caught:
        recorded(history, from_topology(load(DEMO)))
    assert str(caught.value).startswith(f"{history}:2: ")
    assert "; " in str(caught.value)
