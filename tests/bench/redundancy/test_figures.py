"""Small versions of what ``python -m bench.redundancy all`` shows, on seeds that nothing was tuned on."""

from __future__ import annotations

from random import Random

import pytest

from bench.redundancy import __main__ as command
from bench.redundancy.calibration import calibrate
from bench.redundancy.quiet import quiet_day
from topology.policy import TargetLoss


def test_the_bound_covers_the_truth_and_the_product_of_estimates_does_not() -> None:
    for coverage in calibrate(400, (10_000, 100_000), Random(11)):
        assert 0.92 <= coverage.by_bound / coverage.pairs < 1
        assert coverage.by_product / coverage.pairs < 0.5


def test_single_losses_are_no_trouble() -> None:
    day = quiet_day(TargetLoss(1e-4), 3.0, Random(11))
    assert day.surges <= 1
    assert 2 <= day.mean_copies <= 2.005


@pytest.mark.parametrize("text", ["copies=2", "target_loss=2", "target_loss=1e-4,colour=red"])
def test_a_policy_that_cannot_be_simulated_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.redundancy", "quiet", "--policy", text])
    assert command.main() == 2
    assert capsys.readouterr().err.startswith(f"bench.redundancy: {text.split(',')[-1].split('=')[0]}: ")


def test_the_command_prints_figures_and_says_whether_goals_are_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.redundancy", "compare", "--seeds", "1", "--hours", "0.2", "--flows", "1"])
    assert command.main() in (0, 1)
    printed = capsys.readouterr().out
    for word in ("few events", "one provider bad", "whole site bad", "static pair", "dynamic pair", "policy", "goal: "):
        assert word in printed
