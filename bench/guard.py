"""Instructions per packet of the core's workloads, counted by callgrind, against the counts in the repository.

``python -m bench.guard`` compares and exits 1 when one grew by more than the tolerance; ``--update`` writes new counts.
Instructions do not depend on the machine's load, so this holds in CI; they do depend on the compiler and on the CPU
features that valgrind offers, so another toolchain may need an update of the counts.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNTS = Path(__file__).with_name("guard.json")
PROGRAM = ROOT / "dataplane" / "target" / "release" / "braid-micro"
ROUNDS = 20
TOLERANCE = 0.05
COLLECTED = re.compile(r"Collected : (\d+)")


class GuardError(Exception):
    """A count cannot be had; the text says why and what to do."""


def measure() -> dict[str, float]:
    """Workload -> instructions per packet."""
    if not PROGRAM.exists():
        raise GuardError(f"{PROGRAM.relative_to(ROOT)} is missing: run make build")
    listed = subprocess.run([str(PROGRAM), "--rounds", "1"], capture_output=True, text=True, check=True)
    names = [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    return {name: _count(name) for name in names}


def _count(name: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        collect = "--toggle-collect=braid_bench::measured*"
        command = [*valgrind, collect, str(PROGRAM), name, "--rounds", str(ROUNDS)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise GuardError("valgrind is not installed: apt-get install valgrind") from error
    found = COLLECTED.search(ran.stderr)
    if ran.returncode != 0 or found is None:
        raise GuardError(f"valgrind did not count {name}: {ran.stderr.strip()[-500:]}")
    packets: int = json.loads(ran.stdout)["packets"]
    return round(int(found[1]) / packets, 1)


def compare(measured: dict[str, float], expected: dict[str, float], tolerance: float) -> list[str]:
    """One line per workload that grew, or that only one side has."""
    problems = [f"{name}: not measured any more" for name in expected.keys() - measured.keys()]
    for name, count in measured.items():
        if name not in expected:
            problems.append(f"{name}: no count in {COUNTS.name}; run python -m bench.guard --update")
        elif count > expected[name] * (1 + tolerance):
            grown = 100 * (count / expected[name] - 1)
            problems.append(f"{name}: {count} instructions per packet, {grown:.1f} % above {expected[name]}")
    return sorted(problems)


def main(arguments: list[str]) -> int:
    try:
        measured = measure()
    except GuardError as error:
        print(f"bench.guard: {error}", file=sys.stderr)
        return 2
    if "--update" in arguments:
        COUNTS.write_text(json.dumps(measured, indent=2) + "\n")
        return 0
    expected = json.loads(COUNTS.read_text())
    for name, count in measured.items():
        print(f"{name:24} {count:>10} instructions per packet (counted before: {expected.get(name, '-')})")
    problems = compare(measured, expected, TOLERANCE)
    for problem in problems:
        print(f"bench.guard: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
