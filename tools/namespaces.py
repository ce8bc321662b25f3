"""Run the tests in namespaces and with compose; ``make test`` calls it.

What measures the overlay (``test_figures_*``) has the machine for itself. What then asks only whether something works
waits half of the time, and runs in two lanes: the first one begins with compose and the first file, the second one with
the last file, and each file is run by the one that comes to it first (``tests/lanes.py``). The second one's words are
printed when it ends.

Namespace tests that failed run once more, by themselves: they depend on a kernel that gives each of a dozen processes
CPU time when it is due. A defect fails twice; a machine that was busy for a second does not. Both outcomes are printed.
Figures and the others are judged apart, since the noise that fails them is another: figures need the whole machine, the
others share it. Nothing is run again where tests of more than a quarter of the files of either kind failed: that is no
second of noise. A lab that does not come up fails all tests of its file, and counts as one. Nor is anything run again
where any other test failed, of compose say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lanes import CLAIMS

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARE = 0.25
"""Of the files of a kind."""
FOLDER = Path("tests/netns")
COMPOSE = Path("tests/compose")
CACHES = Path("build/pytest")


def files() -> tuple[list[Path], list[Path]]:
    """Those with figures, and the others."""
    found = sorted(FOLDER.glob("test_*.py"))
    figures = [file for file in found if file.name.startswith("test_figures_")]
    return figures, [file for file in found if file not in figures]


def start(
    name: str, what: list[Path] | list[str], stdout: int | None = None, claims: str = ""
) -> subprocess.Popen[bytes]:
    """pytest with a cache of its own: those that run at once would forget each other's failures. ``claims``: the
    directory by which two share the files."""
    words = ["-rs", "--durations=15", "-m", "netns or compose", "-o", f"cache_dir={CACHES / name}", *map(str, what)]
    stderr = None if stdout is None else subprocess.STDOUT
    if claims:
        words = ["-p", "tests.lanes", *words]
    environment = {**os.environ, CLAIMS: claims}
    return subprocess.Popen([sys.executable, "-m", "pytest", *words], stdout=stdout, stderr=stderr, env=environment)


def failed(name: str) -> list[str]:
    file = CACHES / name / "v/cache/lastfailed"
    return list(json.loads(file.read_text())) if file.exists() else []


def again(bad: Sequence[str], kinds: Sequence[Sequence[Path]]) -> bool:
    """Whether what failed may have been noise, and is worth a second run. ``bad`` are pytest's names of tests."""
    if not bad or not all("::" in test for test in bad):
        return False
    failed = {Path(test.partition("::")[0]) for test in bad}
    known = [failed.intersection(kind) for kind in kinds]
    few = all(len(some) <= SHARE * len(kind) for some, kind in zip(known, kinds, strict=True))
    return few and failed == set().union(*known)


def main() -> int:
    names = ("figures", "compose", "first", "second")
    for name in names:
        (CACHES / name / "v/cache/lastfailed").unlink(missing_ok=True)
    figures, others = files()
    codes = [start("figures", figures).wait()]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory() as claims:
        beside = start("second", others[::-1], said.fileno(), claims)
        try:
            codes += [start("compose", [COMPOSE]).wait(), start("first", others, claims=claims).wait(), beside.wait()]
        finally:
            beside.kill()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    if not any(codes):
        return 0
    bad = [test for name in names for test in failed(name)]
    if any(code not in (0, 1) for code in codes) or not again(bad, (figures, others)):
        return 1
    print(f"test: failed and run once more by themselves: {', '.join(bad)}", flush=True)
    code = start("again", bad).wait()
    print(f"test: {'failed again' if code else 'passed the second time'}: {', '.join(bad)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
