"""The core costs no more instructions per packet than the repository says."""

from __future__ import annotations

import json
import shutil

import pytest

from bench import guard


def test_growth_and_missing_workloads_are_told() -> None:
    expected = {"a": 100.0, "b": 100.0, "gone": 1.0}
    problems = guard.compare({"a": 104.9, "b": 106.0, "new": 1.0}, expected, 0.05)
    assert [problem.split(":")[0] for problem in problems] == ["b", "gone", "new"]
    assert "6.0 % above 100.0" in problems[0]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_per_packet_have_not_grown() -> None:
    expected = json.loads(guard.COUNTS.read_text())
    assert guard.compare(guard.measure(), expected, guard.TOLERANCE) == []
