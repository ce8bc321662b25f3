from __future__ import annotations

import pytest

from braid.redundancy.application import Mode
from braid.redundancy.ledger import Budget
from braid.redundancy.verdict import Word, trouble
from tests.braid.redundancy.drive import Driver, candidates
from topology.policy import TargetLoss

POLICY = TargetLoss(1e-4)
PPS = 100.0


def test_two_copies_while_nothing_is_lost() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.run(5)
    driver.quiet(1200)
    assert driver.application.using == {0, 1}
    assert driver.application.mode is Mode.STEADY
    assert driver.application.ledger.surges == 0


def test_trouble_on_both_paths_is_met_by_more_paths_within_half_a_second() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.quiet(1800)
    began = driver.now
    while driver.application.mode is Mode.STEADY:
        driver.run(0.1, {0: 0.5, 1: 0.5, 2: 0.5})
    assert driver.now - began <= 0.5
    assert {3, 4} <= driver.application.sent_on
    driver.run(0.3, {0: 0.5, 1: 0.5, 2: 0.5})
    before = driver.application.ledger.all_lost
    driver.run(20, {0: 0.5, 1: 0.5, 2: 0.5})
    assert driver.application.ledger.all_lost == before
    assert driver.application.ledger.repaired > 0


def test_after_trouble_on_all_paths_two_copies_are_back_when_the_hold_is_over() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.quiet(1800)
    driver.run(30, dict.fromkeys(range(5), 0.4))
    assert len(driver.application.using) == 5
    ended = driver.now
    while len(driver.application.sent_on) > 2:
        driver.run(0.1)
    assert 10 <= driver.now - ended <= 13
    assert driver.application.ledger.longest_surge >= 30


def test_the_hold_ends_on_time_also_while_no_report_comes() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.quiet(1800)
    driver.run(30, dict.fromkeys(range(5), 0.4))
    now, application = driver.now, driver.application
    while len(application.sent_on) > 2:
        now = application.next_timeout()
        application.handle_timeout(now)
    assert 10.9 <= now - driver.now <= 11.2


def test_a_path_in_trouble_is_left_for_a_good_one() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.quiet(1800)
    driver.run(10, {0: 0.3})
    assert 0 not in driver.application.using
    assert len(driver.application.using) == 2


def test_trouble_that_comes_and_goes_is_one_surge() -> None:
    driver = Driver(POLICY, candidates(4))
    driver.quiet(1800)
    bad = dict.fromkeys(range(4), 0.3)
    driver.run(3, bad)
    driver.run(27)
    changes = driver.application.changes
    for _ in range(45):
        driver.run(3, bad)
        driver.run(3)
    assert driver.application.ledger.surges <= 2
    assert driver.application.changes - changes <= 2 * 4.5


def test_a_change_keeps_the_old_paths_for_a_second() -> None:
    driver = Driver(POLICY, candidates(5))
    driver.quiet(1800)
    while 0 in driver.application.using:
        driver.run(0.1, {0: 0.5})
    assert 0 in driver.application.sent_on
    driver.run(1.2, {0: 0.5})
    assert 0 not in driver.application.sent_on


def test_probes_alone_find_heavy_trouble_in_little_more_than_a_second() -> None:
    driver = Driver(POLICY, candidates(5), packets=0, seed=3)
    driver.quiet(1800)
    began = driver.now
    while driver.application.mode is Mode.STEADY and driver.now < began + 5:
        driver.run(0.1, dict.fromkeys(range(3), 0.8))
    assert driver.now - began <= 1.2


def test_one_copy_is_enough_only_while_its_path_is_clean() -> None:
    driver = Driver(TargetLoss(1e-3, min_copies=1), candidates(4))
    driver.quiet(1800)
    assert driver.application.using == {0}
    driver.run(120, dict.fromkeys(range(4), 0.03))
    assert len(driver.application.using) >= 2


def test_a_path_that_misses_the_deadline_is_not_used() -> None:
    paths = candidates(4)
    late = [paths[0].__class__(0, paths[0].cost, paths[0].groups, delay=0.08), *paths[1:]]
    driver = Driver(TargetLoss(1e-4, deadline=0.065), late)
    assert driver.application.using == {1, 2}


def test_a_clean_pair_is_met_once_it_can_be_proved() -> None:
    driver = Driver(TargetLoss(1e-5), candidates(4), packets=100)
    driver.quiet(60)
    first = driver.application.verdict(10 * PPS)
    assert first.word is Word.NOT_PROVABLE_YET
    assert "needs" in first.text
    assert "min" in first.text
    driver.quiet(1500)
    assert driver.application.verdict(10 * PPS).word is Word.MET


@pytest.mark.parametrize("seed", range(5))
def test_paths_that_lose_together_are_never_met_and_named(seed: int) -> None:
    shared = {0: "provider telia", 1: "provider telia"}
    driver = Driver(POLICY, candidates(2, shared), packets=100, seed=seed)
    driver.run(30, {0: 0.004, 1: 0.004}, common=0.006)
    verdict = driver.application.verdict(10 * PPS)
    assert verdict.word is Word.NOT_DIVERSE
    assert "provider telia" in verdict.text


def test_a_pair_that_loses_together_is_left_for_one_that_does_not() -> None:
    driver = Driver(TargetLoss(1e-4), candidates(5), packets=100)
    driver.run(60, {0: 0.004, 1: 0.004}, common=0.006)
    assert not {0, 1} <= driver.application.using
    assert driver.application.verdict(10 * PPS).word is not Word.NOT_DIVERSE


def test_the_cause_of_trouble_is_what_the_bad_paths_have_in_common() -> None:
    shared = dict.fromkeys(range(3), "provider telia of fra")
    driver = Driver(TargetLoss(1e-4, min_copies=3, max_copies=3), candidates(5, shared))
    driver.quiet(1800)
    driver.run(3, dict.fromkeys(range(3), 0.6) | {3: 0.3})
    assert "at provider telia of fra" not in trouble(driver.losses)
    driver = Driver(TargetLoss(1e-4), candidates(5, shared))
    driver.quiet(1800)
    driver.run(3, dict.fromkeys(range(3), 0.6))
    assert trouble(driver.losses).endswith("on 3 of 5 paths at provider telia of fra")


def test_permanent_trouble_is_limited_by_the_budget() -> None:
    driver = Driver(TargetLoss(1e-4, budget=1.01), candidates(6))
    driver.quiet(60)
    bad = dict.fromkeys(range(6), 0.3)
    driver.run(1200, bad)
    assert driver.application.verdict(PPS).word is Word.BUDGET
    budget = Budget(2, 1.01)
    spent = 0.0
    for _ in range(86_400):
        copies = budget.limit(2, 6)
        budget.spend(copies - 2, 1.0)
        spent += copies
    assert spent / 86_400 <= 2.03


def test_the_ledger_counts_what_copies_cost_and_brought() -> None:
    driver = Driver(TargetLoss(1e-4), candidates(3))
    driver.run(60, {0: 0.02})
    ledger = driver.application.ledger
    assert ledger.packets == 10 * 599
    assert ledger.bytes_of_copies == (ledger.copies - ledger.packets) * 100
    assert ledger.repaired > 50
    assert ledger.bytes_per_repair == ledger.bytes_of_copies / ledger.repaired
    assert 2 <= ledger.mean_copies < 3
