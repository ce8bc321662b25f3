"""What a running lab left on the machine, so that it can be removed by another process, also after a crash.

``/run/braid-lab/<name>/`` holds ``state.json`` (written before anything is made), ``processes.jsonl`` (one line per
started process, with its start time: a process id alone may belong to somebody else by now), logs and credentials.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

ROOT = Path("/run/braid-lab")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class State:
    name: str
    file: str
    """Absolute path of the topology file."""
    direct: bool
    namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Process:
    name: str
    pid: int
    start: int
    """Clock ticks after boot, from /proc/<pid>/stat."""


def directory(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r} is no name of a lab", "give a topology file or the name in it", bad_input=True)
    return ROOT / name


def claim(state: State) -> Path:
    """Makes the lab's directory and state file; LabError when the lab exists already."""
    place = directory(state.name)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fd = os.open(place / "state.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise LabError(
            f"the lab {state.name!r} is up already", f"remove it first: `braid lab down {state.name}`"
        ) from None
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
    return place


def read(name: str) -> State | None:
    """None when no such lab exists, or nothing but a damaged record of it."""
    try:
        fields = json.loads((directory(name) / "state.json").read_text())
        return State(
            str(fields["name"]), str(fields["file"]), bool(fields["direct"]), tuple(map(str, fields["namespaces"]))
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def names() -> tuple[str, ...]:
    return tuple(sorted(place.name for place in ROOT.iterdir() if place.is_dir())) if ROOT.is_dir() else ()


def forget(name: str) -> None:
    shutil.rmtree(directory(name), ignore_errors=True)


def start_time(pid: int) -> int | None:
    """None when there is no such process (a zombie counts as none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def record(lab: str, name: str, pid: int) -> None:
    start = start_time(pid)
    if start is not None:
        with (directory(lab) / "processes.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(Process(name, pid, start))) + "\n")


def processes(lab: str) -> tuple[Process, ...]:
    """Those recorded that still run, oldest first."""
    try:
        lines = (directory(lab) / "processes.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return ()
    found = []
    for line in lines:
        # A crash may leave half a line.
        with contextlib.suppress(ValueError, TypeError):
            found.append(Process(**json.loads(line)))
    return tuple(process for process in found if start_time(process.pid) == process.start)


def end_processes(lab: str, patience: float = 3.0) -> None:
    """SIGTERM, then SIGKILL after ``patience`` seconds, to every process the lab started, until they are gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes(lab):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + patience
        while processes(lab) and time.monotonic() < deadline:
            time.sleep(0.02)
