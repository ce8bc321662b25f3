from __future__ import annotations

from random import Random

from bench.planner import COPIES, changed, choose_all, measure, overlay
from topology.model import Role
from topology.planner import Planner


def test_every_case_is_measured_and_few_changes_choose_little_again() -> None:
    rows = {row.case: row for row in measure((12, 10, 24), 2, Random(1))}
    assert len(rows) == 4
    everything = rows["all costs change"].chosen_again
    assert everything == 120
    assert rows["row of one edge, all change"].chosen_again == 10
    assert rows["0.1 % of links change"].chosen_again < everything
    assert all(0 < row.least_s <= row.median_s for row in rows.values())


def test_what_is_kept_over_changes_equals_what_is_chosen_anew() -> None:
    rng = Random(2)
    topology = overlay(6, 5, 30, rng)
    ends = [
        [name for name, region in topology.regions.items() if region.role is role] for role in (Role.EDGE, Role.GATEWAY)
    ]
    planner, every = Planner(topology), {}
    for _ in range(20):
        choose_all(planner, *ends)
        costs = changed(topology, 0.03, rng)
        planner.update(costs)
        every |= costs.links
        fresh = Planner(topology)
        fresh.update(type(costs)(every))
        assert choose_all(planner, *ends) == choose_all(fresh, *ends)
    assert len(fresh.choose(ends[0][0], ends[1][0], COPIES).paths) == COPIES
