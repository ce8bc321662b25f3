"""A lab that is up: run things in it, kill and start nodes, ask them, impair links.

Synchronous: in trio, call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import link, namespaces, netns, state
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from lab.impairment import Impairment
    from lab.plan import Member, Plan
    from topology.model import Topology

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class RunningLab:
    """Use as a context manager to take the lab down at the end; ``down()`` may be called twice."""

    topology: Topology
    file: Path
    plan: Plan
    together: bool = False
    """All that is started stays in the caller's session. A kernel with autogroups shares CPUs out by sessions first,
    and now and then lets a thread of one wait for 20 ms and more while threads of two others wake each other."""
    nodes: dict[str, int] = field(default_factory=dict)
    """Process id per node or origin started by this object or found running."""
    _children: list[subprocess.Popen[Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def directory(self) -> Path:
        return state.directory(self.name)

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    def member(self, name: str) -> Member:
        try:
            return self.plan.members[name]
        except KeyError:
            known = ", ".join(self.plan.members)
            raise LabError(
                f"{name!r} is no node or host of the lab {self.name!r}", f"it has {known}", bad_input=True
            ) from None

    def namespace(self, name: str) -> str:
        return self.member(name).namespace

    def argv(self, name: str, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(name), *argv]

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        check: bool = True,
        text: bool = True,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[Any]:
        """Runs a command in a namespace to its end, output captured.

        LabError with the output when it fails and ``check``; subprocess.TimeoutExpired after ``timeout`` seconds.
        """
        done = subprocess.run(
            self.argv(name, argv),
            capture_output=True,
            text=text,
            timeout=timeout,
            check=False,
            input=stdin,
            env=_environment(),
        )
        if check and done.returncode != 0:
            raise LabError(f"`{' '.join(argv)}` in {name} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def popen(self, name: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Starts a command in a namespace; ``down()`` ends it. ``options`` are those of subprocess.Popen."""
        child = subprocess.Popen(self.argv(name, argv), env=_environment(), **self._apart(), **options)
        state.record(self.name, name, child.pid)
        self._children.append(child)
        return child

    def listening(self, name: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a server that says "listening" on stderr (braid-traffic does), and waits for that; stdout is piped."""
        child = self.popen(name, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = child.stderr.readline() if child.stderr is not None else b""
        if said.strip() != b"listening":
            raise LabError(f"`{' '.join(argv)}` in {name} says: {said.decode(errors='replace').strip() or 'nothing'}")
        return child

    def socket(self, name: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return netns.socket_in(self.namespace(name), family, kind)

    def start(self, name: str, extra: Sequence[str] = ()) -> subprocess.Popen[Any]:
        """Starts a node or origin whose process is not running; does not wait until it is ready."""
        if self.alive(name):
            raise LabError(f"{name} runs already (process {self.nodes[name]})")
        member = self.member(name)
        if name in self.topology.nodes:
            argv = [sys.executable, "-m", "braid", "run", name, "-t", str(self.file), "--pki", str(self.pki), *extra]
        elif member.kind == "origin":
            argv = [
                sys.executable,
                "-m",
                "lab.origin",
                "--name",
                name,
                *(f"--port={port}" for port in member.origin_ports),
                *extra,
            ]
        else:
            raise LabError(f"{name} is a client: it has nothing to start", bad_input=True)
        with self.log(name).open("ab") as log:
            child = self.popen(
                name, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=REPOSITORY
            )
        self.nodes[name] = child.pid
        return child

    def alive(self, name: str) -> bool:
        pid = self.nodes.get(name)
        return pid is not None and any(process.pid == pid for process in state.processes(self.name))

    def kill(self, name: str, number: int = signal.SIGKILL, *, wait: float = 10.0) -> None:
        """Sends a signal to the node's process; for SIGKILL and SIGTERM waits until it has ended."""
        if not self.alive(name):
            raise LabError(f"{name} is not running")
        pid = self.nodes[name]
        os.kill(pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            deadline = time.monotonic() + wait
            while state.start_time(pid) is not None:
                if time.monotonic() > deadline:
                    raise LabError(f"{name} (process {pid}) still runs {wait:g} s after signal {number}")
                time.sleep(0.005)
            for child in self._children:
                if child.pid == pid:
                    child.wait()

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def log_tail(self, name: str, lines: int = 15) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        return ""

    def status(self, name: str, path: str = "/status", timeout: float = 5.0) -> Any:
        """The JSON document a node's status endpoint gives. OSError when the node does not answer."""
        node = self.topology.nodes[name]
        return netns.http_json(self.namespace(name), str(node.status.host), node.status.port, path, timeout)

    def ready(self, name: str) -> bool:
        """Whether a node's /readyz says 200, or an origin accepts connections."""
        try:
            if name in self.topology.nodes:
                at = self.topology.nodes[name].status
                return netns.http_get(self.namespace(name), str(at.host), at.port, "/readyz", 2.0)[0] == 200
            return (
                netns.http_get(self.namespace(name), "127.0.0.1", self.member(name).origin_ports[0], "/", 2.0)[0] == 200
            )
        except (OSError, HTTPException):
            return False

    def wait_ready(self, name: str, timeout: float = 20.0) -> float:
        """Seconds until the node is ready. LabError with the end of its log when it ends or is not in ``timeout``."""
        began = time.monotonic()
        while not self.ready(name):
            if not self.alive(name):
                raise LabError(
                    f"{name} ended before it was ready; its log ({self.log(name)}) ends:\n{self.log_tail(name)}"
                )
            if time.monotonic() - began > timeout:
                raise LabError(
                    f"{name} is not ready after {timeout:g} s; its log ({self.log(name)}) ends:\n{self.log_tail(name)}"
                )
            time.sleep(0.05)
        return time.monotonic() - began

    def impair(self, a: str, b: str, impairment: Impairment | None, *, direction: link.Direction = "both") -> None:
        """Sets (None: clears) what happens to packets on the link of two neighbours; directions not named keep theirs.

        ``direction`` is "both", "a-to-b" or "b-to-a", in the order of the arguments.
        """
        link.impair(self.plan, a, b, impairment, direction, self._start_emulator)

    def counters(self, a: str, b: str) -> dict[str, link.Counters]:
        """Counters "a-to-b" and "b-to-a" (in the order of the arguments) since the link was first impaired."""
        return link.counters(self.plan, a, b)

    def down(self) -> None:
        take_down(self.name)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self._children.clear()

    def _apart(self) -> dict[str, Any]:
        """How a member is kept from the caller's Ctrl-C, as options of subprocess.Popen."""
        return {"process_group": 0} if self.together else {"start_new_session": True}

    def _start_emulator(self, argv: Sequence[str]) -> None:
        with (self.directory / "braid-link.log").open("ab") as log:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.plan.hub, *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._apart(),
            )
        state.record(self.name, "braid-link", child.pid)
        self._children.append(child)

    def __enter__(self) -> RunningLab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


def take_down(name: str) -> bool:
    """Removes a lab by its recorded state; False when there is none. Idempotent."""
    known = state.read(name)
    state.end_processes(name)
    if known is not None:
        namespaces.remove(known.namespaces)
    existed = state.directory(name).exists()
    state.forget(name)
    return existed


def find(name: str) -> tuple[Path, bool, dict[str, int]]:
    """Of a lab that is up: its topology file, whether it is direct, and the processes of its members."""
    known = state.read(name)
    if known is None:
        remedy = f"labs that are up: {', '.join(state.names())}" if state.names() else "start it: `braid lab up FILE`"
        raise LabError(f"there is no lab {name!r}", remedy, bad_input=True)
    return Path(known.file), known.direct, {process.name: process.pid for process in state.processes(name)}


def _environment() -> Mapping[str, str]:
    """Members run this very tree, wherever they are started from."""
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}
