"""Run the namespace tests that just failed once more, by themselves; ``make test`` calls it when pytest failed.

Their figures depend on a kernel that gives each of a dozen processes CPU time when it is due. A defect fails twice; a
machine that was busy for a second does not. Both outcomes are printed. Nothing is run again where more than
``MOST`` failed, or any other test: those are deterministic.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MOST = 5
MARK = "pytest.mark.netns"
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    failed = list(json.loads(FAILED.read_text())) if FAILED.exists() else []
    files = {Path(each.partition("::")[0]) for each in failed}
    if not failed or len(failed) > MOST or not all(each.is_file() and MARK in each.read_text() for each in files):
        return 1
    print(f"test: failed and run once more by themselves: {', '.join(failed)}", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", "-rs", *failed], check=False).returncode
    print(f"test: {'failed again' if again else 'passed the second time'}: {', '.join(failed)}")
    return again


if __name__ == "__main__":
    sys.exit(main())
