"""Checks of target servers: real connections from the gateway's own addresses."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import trio

from braid import log as logs
from gateway.nat import served
from gateway.targets import CheckResult, Probe, TargetTable, probes
from topology.model import CheckKind, SocketAddress

if TYPE_CHECKING:
    from random import Random

    from braid.role import NodeHandle

log = logs.get(__name__)

SPREAD = 0.1
"""Checks are this part of the interval earlier or later, so that gateways do not beat in time."""
MAX_STATUS_LINE = 1024


@dataclass(frozen=True, slots=True)
class HealthService:
    table: TargetTable
    rng: Random

    async def run(self, node: NodeHandle, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Check every target of the topology in force, and begin anew when that is replaced.

        Started when the first checks run. Survives whatever a target does; a bug propagates.
        """
        while True:
            reloaded = node.reloaded()
            situation = node.situation()
            wanted = probes(served(situation.topology, situation.node))
            self.table.keep(frozenset(probe.key for probe in wanted))
            async with trio.open_nursery() as nursery:
                for probe in wanted:
                    nursery.start_soon(self._repeat, node, probe)
                if task_status is not trio.TASK_STATUS_IGNORED:
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                await reloaded.wait()
                nursery.cancel_scope.cancel()

    async def _repeat(self, node: NodeHandle, probe: Probe) -> NoReturn:
        interval = probe.check.interval
        while True:
            result = await check_once(probe)
            if self.table.receive(probe, result):
                healthy = self.table.healthy(probe.key)
                report = log.info if healthy else log.warning
                report(
                    "target healthy" if healthy else "target unhealthy",
                    application=probe.key[0],
                    target=str(SocketAddress(probe.key[1], probe.port)),
                    detail=result.detail,
                )
                node.replan()
            await trio.sleep(interval * self.rng.uniform(1 - SPREAD, 1 + SPREAD))


async def check_once(probe: Probe) -> CheckResult:
    """One check, within its timeout. Whatever the target does is a result, never an error."""
    result = CheckResult(False, f"timeout after {probe.check.timeout:g} s")
    with trio.move_on_after(probe.check.timeout):
        try:
            family = socket.AF_INET6 if probe.key[1].version == 6 else socket.AF_INET
            with trio.socket.socket(family, socket.SOCK_STREAM) as connection:
                await connection.connect((str(probe.key[1]), probe.port))
                if probe.check.kind is CheckKind.TCP:
                    return CheckResult(True, "connected")
                return await _ask_http(trio.SocketStream(connection), probe)
        except (OSError, trio.BrokenResourceError) as error:
            result = CheckResult(False, _problem(error))
    return result


async def _ask_http(stream: trio.SocketStream, probe: Probe) -> CheckResult:
    host = SocketAddress(probe.key[1], probe.port)
    request = (
        f"GET {probe.check.path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: braid-check",
        "Connection: close",
        "",
        "",
    )
    await stream.send_all("\r\n".join(request).encode())
    received = b""
    while b"\n" not in received and len(received) < MAX_STATUS_LINE:
        chunk = await stream.receive_some(MAX_STATUS_LINE)
        if not chunk:
            break
        received += chunk
    return judge_status_line(received)


def judge_status_line(received: bytes) -> CheckResult:
    """2xx and 3xx pass (RFC 9112 section 4); anything else, also what is not HTTP, does not."""
    line, newline, _ = received[:MAX_STATUS_LINE].partition(b"\n")
    words = line.split(b" ")
    if not newline or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].strip().isdigit():
        return CheckResult(False, "no HTTP answer")
    status = words[1].strip()
    return CheckResult(len(status) == 3 and status[:1] in (b"2", b"3"), f"HTTP {status[:3].decode()}")


def _problem(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return (os.strerror(number) if number else str(error) or type(error).__name__).lower()
