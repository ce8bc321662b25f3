"""Wrong topology files given to real commands: exit code 2, one line with key and remedy, nothing touched.

The commands run in namespaces of their own with an empty /run: whatever they made would be there alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.netns import forked
from tests.topology.base import TEXT, changed
from tests.topology.mistakes import MEANING, SHAPE, TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.netns

REPOSITORY = Path(__file__).parent.parent.parent
ISOLATED = ["unshare", "--net", "--mount", "sh", "-c", 'mount -n -t tmpfs none /run && exec "$@"', "sh"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
COMMANDS = {"check": ["check", "t.yaml"], "run": ["run", "e-1", "-t", "t.yaml"], "lab up": ["lab", "up", "t.yaml"]}


@dataclass(frozen=True)
class Wrong:
    kind: str
    text: str
    key: str
    says: str
    remedy: str


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    seen: list[str]
    """What there is on the machine afterwards."""
    files: list[str]
    """Beside the topology file."""


WRONG = [Wrong(case.kind, changed(*case.changes), case.key, case.says, case.remedy) for case in (*SHAPE, *MEANING)]
WRONG += [
    Wrong(kind, text, key or f":{line}:", says, remedy)
    for kind, text, line, key, says, remedy in TEXTS
    # Left to the tests of the parser: one cannot be written to a file as UTF-8, one is merely large.
    if kind not in ("surrogate", "too many nodes")
]


def run_all(jobs: Sequence[tuple[Path, list[str]]]) -> list[Ended]:
    """The commands one after another in namespaces that they share, each with its topology file ``t.yaml``."""
    done = subprocess.run(
        [*ISOLATED, sys.executable, "-m", forked.__name__],
        input=json.dumps([[str(directory), words] for directory, words in jobs]),
        env=ENVIRONMENT,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Ended(**fields) for fields in json.loads(done.stdout)]


def written(place: Path, text: str) -> Path:
    place.mkdir(parents=True)
    (place / "t.yaml").write_text(text)
    return place


def complaints(case: Wrong, ended: Ended, untouched: list[str]) -> list[str]:
    judged = {
        f"exit code {ended.code}": ended.code == 2,
        f"output {ended.out!r}": ended.out == "",
        f"not one line: {ended.err!r}": ended.err.count("\n") == 1,
        f"no key {case.key!r}: {ended.err!r}": case.key in ended.err and "t.yaml" in ended.err,
        f"not {case.says!r}: {ended.err!r}": case.says in ended.err,
        f"no remedy {case.remedy!r}: {ended.err!r}": case.remedy in ended.err,
        f"touched the machine: {set(ended.seen) ^ set(untouched)}": ended.seen == untouched,
        f"left files: {ended.files}": ended.files == ["t.yaml"],
    }
    return [f"{case.kind}: {complaint}" for complaint, right in judged.items() if not right]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_kind_is_refused_and_nothing_touched(
    command: str, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    right = written(tmp_path / "right", TEXT)
    jobs = [(right, ["--version"]), (right, ["check", "t.yaml"])]
    jobs += [(written(tmp_path / str(at), case.text), COMMANDS[command]) for at, case in enumerate(WRONG)]
    looked, accepted, *refused = run_all(jobs)
    assert (accepted.code, accepted.err, accepted.seen) == (0, "", looked.seen), "the right file is not accepted"
    found = [each for case, ended in zip(WRONG, refused, strict=True) for each in complaints(case, ended, looked.seen)]
    assert not found, "\n".join(found)
    assert len(WRONG) >= 25
    figure(f"wrong topology files: `braid {command}`", f"{len(WRONG)} kinds, exit 2, nothing touched")


@pytest.mark.parametrize("command", COMMANDS)
def test_as_a_process_of_its_own(command: str, tmp_path: Path) -> None:
    case = next(case for case in WRONG if case.kind == "overlapping pools")
    place = written(tmp_path / "t", case.text)
    argv = [*ISOLATED, sys.executable, "-m", "braid", *COMMANDS[command]]
    done = subprocess.run(argv, cwd=place, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
    files = [path.name for path in place.iterdir()]
    assert complaints(case, Ended(done.returncode, done.stdout, done.stderr, [], files), []) == []


def test_a_command_that_does_touch_the_machine_would_be_seen(tmp_path: Path) -> None:
    place = written(tmp_path / "t", TEXT)
    words = (["--version"], ["lab", "up", "--no-nodes", "t.yaml"], ["lab", "down", "t.yaml"])
    looked, made, removed = run_all([(place, each) for each in words])
    assert (made.code, removed.code) == (0, 0), (made.err, removed.err)
    assert {"/run/braid-lab/small/state.json", "/run/netns/small-hub"} <= set(made.seen) - set(looked.seen)
    assert not {"/run/braid-lab/small/state.json", "/run/netns/small-hub"} & set(removed.seen)


def test_a_right_file_with_wrong_words(tmp_path: Path) -> None:
    cases = [
        (["run", "e-9", "-t", "t.yaml"], "nodes.e-9: no such node; name one of: e-1, m-1"),
        (["run", "e-1", "-t", "t.yaml"], "pki/ca.crt: no such file or directory; name the directory with --pki"),
        (["run", "e-1", "-t", "other.yaml"], "other.yaml: cannot be read: No such file"),
        (["check", "other.yaml"], "other.yaml: cannot be read: No such file"),
        (["lab", "up", "other.yaml"], "'other.yaml' does not exist"),
        (["lab", "exec", "nothing", "e-1", "true"], "there is no lab 'nothing'"),
        (["pki", "issue", "e-9", "-t", "t.yaml"], "braid pki init"),
        (["no-such-command"], "No such command"),
    ]
    jobs = [(written(tmp_path / str(at), TEXT), words) for at, (words, _) in enumerate(cases)]
    looked, *all_ended = run_all([(jobs[0][0], ["--version"]), *jobs])
    for (words, says), ended in zip(cases, all_ended, strict=True):
        assert ended.code == 2, (words, ended)
        assert says in ended.err, words
        assert "Traceback" not in ended.err, words
        assert (ended.seen, ended.files) == (looked.seen, ["t.yaml"]), words
