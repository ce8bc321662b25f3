"""Runs ``braid-traffic`` at both ends of a contender."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.contenders import CLIENT, ORIGIN
from lab.errors import LabError
from lab.link import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.contenders import Contender
    from lab.running import RunningLab

PORT = 7000
PATIENCE = 30.0
"""Seconds after which an end that says nothing is given up."""
Said = dict[str, Any]


@contextmanager
def serving(lab: RunningLab, contender: Contender, mode: str, *, port: int = PORT) -> Iterator[Callable[[], Said]]:
    """One end at the origin; what it gives is the next line that this end reports. LabError if there is none."""
    bind = ["--bind", f"{contender.origin}:{port}"] + (["--idle", "0.3"] if mode == "udp-recv" else [])
    child: subprocess.Popen[bytes] = lab.listening(ORIGIN, [_program(), mode, *bind])
    watchdog = threading.Timer(PATIENCE, child.kill)
    watchdog.start()

    def report() -> Said:
        line = child.stdout.readline() if child.stdout else b""
        if not line:
            raise LabError(f"{mode} at the origin reported nothing")
        return _read(line)

    try:
        yield report
    finally:
        watchdog.cancel()
        child.terminate()
        child.communicate(timeout=10)


def client(lab: RunningLab, contender: Contender, mode: str, *, port: int = PORT, **options: float | bool) -> Said:
    """One end at the client, until it is done."""
    return clients(lab, contender, mode, 1, port=port, **options)[0]


def clients(
    lab: RunningLab, contender: Contender, mode: str, count: int, *, port: int = PORT, **options: float | bool
) -> list[Said]:
    """So many ends at once, started together."""
    argv = _client_argv(contender, mode, port, options)
    if count > 1:
        script = 'i=0; while [ $i -lt "$0" ]; do "$@" & i=$((i+1)); done; wait'
        argv = ["sh", "-c", script, str(count), *argv]
    try:
        lines = lab.exec(CLIENT, argv, timeout=PATIENCE).stdout.splitlines()
    except subprocess.TimeoutExpired:
        raise LabError(f"{mode} at the client does not end") from None
    if len(lines) != count:
        raise LabError(f"{len(lines)} of {count} {mode} at the client reported")
    return [_read(line) for line in lines]


@contextmanager
def client_beside(lab: RunningLab, contender: Contender, mode: str, seconds: float) -> Iterator[None]:
    """One end at the client that works during the block and has begun before it."""
    argv = _client_argv(contender, mode, PORT, {"seconds": seconds})
    child = lab.popen(CLIENT, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        time.sleep(0.3)
        yield
        if child.poll() is not None:
            raise LabError(f"{mode} ended before what it was to load: {child.communicate()[1].decode()[-200:]}")
    finally:
        child.terminate()
        child.communicate(timeout=10)


def _client_argv(contender: Contender, mode: str, port: int, options: dict[str, float | bool]) -> list[str]:
    words = [word for key, value in options.items() for word in ([f"--{key}"] if value is True else _pair(key, value))]
    return [_program(), mode, "--to", f"{contender.address}:{port}", *words]


def _pair(key: str, value: float) -> list[str]:
    return [f"--{key}", str(value)]


def _read(line: str | bytes) -> Said:
    said: Said = json.loads(line)
    return said


def _program() -> str:
    return str(tool("braid-traffic", "BRAID_TRAFFIC"))
