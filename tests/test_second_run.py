"""What of failed namespace tests is run a second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.namespaces import again, files

FIGURES = [Path(f"tests/netns/test_figures_{letter}.py") for letter in "abcdefghijkl"]
OTHERS = [Path(f"tests/netns/test_{letter}.py") for letter in "abcdefghijklmnopqrstuvwxyzABCDEF"]


def named(*files: Path) -> list[str]:
    return [f"{file}::test_{number}" for file in files for number in (1, 2)]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ([], False),
        (named(*FIGURES[:2], *OTHERS[:3]), True),
        (named(*FIGURES[:3], *OTHERS[:8]), True),
        (named(*FIGURES[:4]), False),
        (named(*OTHERS[:9]), False),
        ([*named(OTHERS[0]), "tests/compose/test_compose.py::test_demo"], False),
        ([*named(OTHERS[0]), "tests/braid/test_plan.py::test_it"], False),
        ([str(OTHERS[0])], False),
    ],
    ids=["nothing", "some of both", "a quarter of both", "more figures", "more others", "compose", "memory", "no test"],
)
def test_what_may_have_been_noise_is_run_again(bad: list[str], expected: bool) -> None:
    assert again(bad, (FIGURES, OTHERS)) is expected


def test_figures_are_judged_apart() -> None:
    figures, others = files()
    assert len(figures) > 8
    assert all("figures" in file.name for file in figures)
    assert others
    assert not set(figures) & set(others)
