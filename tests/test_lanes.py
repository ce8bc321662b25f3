"""Two runs of pytest share the files that both were given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lanes import CLAIMS, claimer

ROOT = Path(__file__).parent.parent
MODULE = """
import pytest

@pytest.fixture(scope="module")
def lab():
    yield 1
    print("down")

@pytest.mark.parametrize("number", [1, 2])
def test_it(lab, number):
    print("ran {name}", number)
"""


def test_a_file_is_run_by_the_one_that_comes_to_it_first(tmp_path: Path) -> None:
    one, other = claimer(tmp_path), claimer(tmp_path)
    assert one(Path("tests/test_a.py"))
    assert not other(Path("tests/test_a.py"))
    assert other(Path("tests/test_b.py"))
    assert (one(Path("tests/test_a.py")), one(Path("tests/test_b.py"))) == (True, False), "as before"


def test_what_the_other_one_runs_is_left_out_and_what_a_file_made_is_taken_down(tmp_path: Path) -> None:
    claims, files = tmp_path / "claims", [tmp_path / f"test_{name}.py" for name in "abc"]
    claims.mkdir()
    for file in files:
        file.write_text(MODULE.format(name=file.stem))
    (claims / "test_b.py").touch()
    argv = [sys.executable, "-m", "pytest", "-p", "tests.lanes", "-p", "no:cacheprovider", "-s", "-q", *map(str, files)]
    done = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, CLAIMS: str(claims)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.strip(".") for line in done.stdout.splitlines() if "ran" in line or "down" in line]
    assert said == ["ran test_a 1", "ran test_a 2", "down", "ran test_c 1", "ran test_c 2", "down"]
    assert sorted(file.name for file in claims.iterdir()) == [file.name for file in files]
