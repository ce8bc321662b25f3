"""Brings a whole topology up in network namespaces: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from braid import pki
from lab import namespaces, state
from lab.errors import LabError
from lab.plan import Plan, make_plan
from lab.running import RunningLab, find, take_down
from topology.graph import neighbours
from topology.source import load

if TYPE_CHECKING:
    from topology.model import Topology

Progress = Callable[[str], None]


def up(
    file: Path | str,
    *,
    nodes: bool = True,
    direct: bool = False,
    together: bool = False,
    ready_timeout: float = 30.0,
    progress: Progress = lambda line: None,
) -> RunningLab:
    """Makes the namespaces of a topology file; with ``nodes`` also credentials, every node and every origin, all ready.

    ``direct``: underlay links are plain veth pairs (fastest, not impairable). ``together``: in the caller's session
    (``RunningLab.together``). ``progress`` gets one line per step. On any failure everything made so
    far is removed. TopologyError or LabError.
    """
    path = Path(file).resolve()
    return bring_up(
        load(path),
        path,
        nodes=nodes,
        direct=direct,
        together=together,
        ready_timeout=ready_timeout,
        progress=progress,
    )


def bring_up(
    topology: Topology,
    file: Path,
    *,
    nodes: bool = True,
    direct: bool = False,
    together: bool = False,
    ready_timeout: float = 30.0,
    progress: Progress = lambda line: None,
) -> RunningLab:
    """As ``up`` for a topology at hand; ``file`` is what the nodes are told to read."""
    lab = RunningLab(topology, file, _plan(topology, direct), together)
    raise_namespaces(lab, progress)
    try:
        if nodes:
            start_everything(lab, ready_timeout=ready_timeout, progress=progress)
    except BaseException:
        lab.down()
        raise
    return lab


def raise_namespaces(lab: RunningLab, progress: Progress = lambda line: None) -> RunningLab:
    """Claims the lab's name and makes its namespaces, or nothing at all; gives the lab back."""
    plan = lab.plan
    namespaces.require_machine()
    if state.read(plan.name) is None:
        namespaces.refuse_foreign(plan)
    state.claim(state.State(plan.name, str(lab.file), plan.direct, namespaces.namespaces_of(plan)))
    try:
        progress(f"making {len(plan.members) + 1} namespaces, {len(plan.links)} links, {len(plan.segments)} networks")
        namespaces.make(plan)
    except BaseException:
        lab.down()
        raise
    return lab


def start_everything(lab: RunningLab, *, ready_timeout: float = 30.0, progress: Progress = lambda line: None) -> None:
    """Credentials, then all origins and nodes; returns when all are ready."""
    make_credentials(lab)
    progress(f"credentials are in {lab.pki}")
    started = [name for name, member in lab.plan.members.items() if member.kind != "client"]
    for name in started:
        lab.start(name)
    for name in started:
        seconds = lab.wait_ready(name, ready_timeout)
        progress(f"{name} is ready" + (f" after {seconds:.1f} s" if seconds >= 0.1 else ""))


def make_credentials(lab: RunningLab) -> None:
    """A CA and node credentials for this lab alone, valid from now."""
    pki.init(lab.topology, lab.pki, datetime.now(UTC))


def attach(file_or_name: Path | str) -> RunningLab:
    """A lab that is up already, started by another process. LabError when there is none."""
    recorded, direct, processes = find(lab_name(file_or_name))
    topology = load(recorded)
    return RunningLab(topology, recorded, _plan(topology, direct), nodes=dict(processes))


def down(file_or_name: Path | str) -> bool:
    """Removes a lab, also one that crashed; False when there was none. Idempotent."""
    namespaces.require_machine()
    return take_down(lab_name(file_or_name))


def lab_name(file_or_name: Path | str) -> str:
    """A lab's name, or the name in a topology file (which need not be valid any more if its lab is up)."""
    path = Path(file_or_name)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
            raise LabError(f"there is no file {path}", "give a topology file or the name of a lab", bad_input=True)
        return str(file_or_name)
    for name in state.names():
        known = state.read(name)
        if known is not None and known.file == str(path.resolve()):
            return name
    return load(path).name


def _plan(topology: Topology, direct: bool) -> Plan:
    return make_plan(topology, {name: neighbours(topology, name) for name in topology.nodes}, direct=direct)
