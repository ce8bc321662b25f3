"""Which paths applications with a target loss have to choose from, and how their sets are named."""

from __future__ import annotations

from dataclasses import replace

import yaml

from bench.surge import EDGE, GATEWAY, document
from braid.app_numbers import AppNumbers
from braid.candidates import fixed_copies, has_target, set_number
from braid.desired import TARGETS
from braid.plan import PathPlanner
from braid.redundancy.node import Redundancy
from edge.applications import edge_policy
from edge.applications import peers_of as edge_peers
from edge.applications import targets_of as edge_targets
from edge.diverts import Diverts
from gateway.nat import gateway_policy
from gateway.nat import peers_of as gateway_peers
from gateway.nat import targets_of as gateway_targets
from tests.delegations import situation
from topology.policy import FixedCopies, TargetLoss
from topology.source import parse

TOPOLOGY = parse(yaml.safe_dump(document("five")), "five.yaml")
POLICY = TargetLoss(1e-4)


def planned(usable: set[str] | None = None) -> tuple[PathPlanner, Redundancy]:
    planner, redundancy = PathPlanner(), Redundancy()
    fixed = planner.plan(
        TOPOLOGY, EDGE, {GATEWAY: frozenset()}, lambda node: usable is None or node in usable,
        targets={GATEWAY: {TARGETS: POLICY}},
    )  # fmt: skip
    assert fixed == ()
    redundancy.configure(planner.selections, 0.0)
    return planner, redundancy


def test_an_application_with_a_target_has_a_set_of_its_own_at_both_ends() -> None:
    shop, numbers = TOPOLOGY.applications["shop"], AppNumbers()
    assert (has_target(shop), fixed_copies(shop), set_number(shop, numbers)) == (True, frozenset(), TARGETS)
    two = replace(shop, redundancy=FixedCopies(2))
    assert (has_target(two), fixed_copies(two), set_number(two, numbers)) == (False, {2}, 2)
    assert (edge_peers(TOPOLOGY, EDGE), edge_targets(TOPOLOGY, EDGE)) == ({GATEWAY: frozenset()}, {GATEWAY: ("shop",)})
    assert (gateway_peers(TOPOLOGY, GATEWAY), gateway_targets(TOPOLOGY, GATEWAY)) == (
        {EDGE: frozenset()},
        {EDGE: ("shop",)},
    )
    assert edge_policy(situation(TOPOLOGY, EDGE), numbers, Diverts()).applications[0].set == TARGETS
    assert gateway_policy(TOPOLOGY, GATEWAY, numbers, lambda _key: True).applications[0].set == TARGETS


def test_all_disjoint_paths_are_candidates_and_the_cheapest_are_used() -> None:
    planner, redundancy = planned()
    (selection,) = planner.selections.values()
    assert len(selection.candidates) == 5
    assert all(len(candidate.groups) == 1 for candidate in selection.candidates)
    assert [candidate.cost for candidate in selection.candidates] == [20, 22, 24, 26, 28]
    (paths,) = redundancy.path_sets()
    first = [TOPOLOGY.nodes[f"mid-{number}-1"].number for number in (1, 2)]
    assert [path.route[0] for path in paths.paths] == first
    assert (paths.set, paths.measured, len(paths.spares)) == (TARGETS, True, 3)


def test_a_relay_that_does_not_answer_is_no_candidate_and_comes_back_with_its_number() -> None:
    planner, redundancy = planned()
    before = redundancy.path_sets()
    relays = {name for name in TOPOLOGY.nodes if name.startswith("mid-")}
    for usable, count in ((relays - {"mid-1-1"}, 4), (relays, 5)):
        planner.plan(
            TOPOLOGY, EDGE, {GATEWAY: frozenset()}, usable.__contains__, targets={GATEWAY: {TARGETS: POLICY}}
        )  # fmt: skip
        redundancy.configure(planner.selections, 1.0)
        (paths,) = redundancy.path_sets()
        assert (len(paths.paths), len(paths.paths) + len(paths.spares)) == (2, count)
    known = {path.route: path.id for path in (*before[0].paths, *before[0].spares)}
    assert {path.route: path.id for path in (*paths.paths, *paths.spares)} == known


def test_what_paths_share_has_its_name() -> None:
    shared = document("shared")
    for mid in ("mid-1", "mid-2"):
        shared["regions"][mid] |= {"provider": "telia", "shared_risk": ["bridge"]}
    topology = parse(yaml.safe_dump(shared), "shared.yaml")
    planner = PathPlanner()
    planner.plan(topology, EDGE, {GATEWAY: frozenset()}, lambda _n: True, targets={GATEWAY: {TARGETS: POLICY}})
    (selection,) = planner.selections.values()
    groups = [candidate.groups for candidate in selection.candidates]
    assert sum({"provider telia", "shared risk bridge"} <= each for each in groups) == 2
