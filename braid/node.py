"""Runs one node: credentials -> topology -> TUN and sockets -> core -> services -> orderly end.

Everything is read and checked before anything on the system is touched.
"""

from __future__ import annotations

import errno
import importlib
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom
from typing import TYPE_CHECKING

import trio

from braid import log as logs
from braid.addresses import Capture, release_capture
from braid.control import ControlPlane
from braid.core import CoreApi, open_core, pump_events
from braid.credentials import CredentialError, load_credentials, node_directory
from braid.handle import node_handle
from braid.linux import LinuxError
from braid.peers import own_problem
from braid.plan import inner_mtu
from braid.process import keep_what_is_there, protect_memory
from braid.reload import Reloader, revision_of
from braid.role import Drains, Finishes, StartError
from braid.roles import role_runtime
from braid.status.follow import follow
from braid.threads import busy_seconds
from braid.tun import configure_tun, configure_tun_ipv6, open_tun
from braid.view import Loaded, View
from braid.watchdog import exit_at_once, watch
from topology.problem import Problem, TopologyError
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from braid.identity import Credentials
    from topology.model import Node, SocketAddress, Topology

log = logs.get(__name__)

DRAIN = 0.25
"""Seconds that a node which was told to stop keeps forwarding, while the DNS nodes learn of it."""
LONGEST_DRAIN = 8.0
"""Seconds that connections which have something under way are waited for; Docker kills after 10."""
BIND_PATIENCE = 5.0
"""Seconds to wait for an underlay address that is not usable yet (IPv6 duplicate address detection)."""


@dataclass(frozen=True, slots=True)
class Options:
    """How one node is run; everything else is in the topology file."""

    node: str
    topology: Path
    pki: Path
    udp_gso: bool = True
    udp_gro: bool = True
    tun_offload: bool = True
    rate_mbit: int = 10_000
    """Of the underlay. The sockets' buffers hold what comes and goes at this rate within the times below."""
    receive_us: int = 5_000
    send_us: int = 1_000


def run_node(options: Options) -> int:
    """Run the node until it is told to stop; returns the exit code: 0 after SIGTERM or SIGINT, 1 when it cannot run.

    Raises TopologyError or CredentialError for bad input, before anything is touched. A bug ends it with 1, logged; a
    dead data thread ends the process with 70 (``braid.watchdog``).
    """
    protect_memory()
    topology = load(options.topology)
    credentials = check_credentials(topology, options)
    code = 0
    try:
        trio.run(_run_settled, topology, credentials, options)
    except* (StartError, LinuxError) as expected:
        code = 1
        for problem in _leaves(expected):
            log.error("node cannot run", problem=str(problem))
    except* Exception:
        code = 1
        log.exception("node failed")
    log.info("node stopped", exit_code=code)
    return code


async def _run_settled(topology: Topology, credentials: Credentials, options: Options) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(run, topology, credentials, options)
        keep_what_is_there()


def check_credentials(topology: Topology, options: Options) -> Credentials:
    """The node's own credentials, found good for the place it has in the topology."""
    if options.node not in topology.nodes:
        known = ", ".join(topology.nodes)
        place = f"nodes.{options.node}"
        raise TopologyError([Problem(str(options.topology), place, "no such node", f"name one of: {known}")])
    credentials = load_credentials(options.pki, options.node)
    problem = own_problem(credentials, topology, datetime.now(UTC))
    if problem is not None:
        file = node_directory(options.pki, options.node) / "node.crt"
        raise CredentialError(file, f"is refused: {problem}", f"make new credentials: braid pki issue {options.node}")
    return credentials


async def run(
    topology: Topology,
    credentials: Credentials,
    options: Options,
    *,
    task_status: trio.TaskStatus[ControlPlane] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the node until a signal has drained it. Started when every service runs.

    Closes what it opened: addresses, sockets, TUN. Errors: StartError and LinuxError for what the host refuses;
    anything else is a bug.
    """
    node = topology.nodes[options.node]
    rng = SystemRandom()
    role = role_runtime(node.role, rng)
    if isinstance(role, Drains):
        role.remember(options.topology, topology, node.name)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals, ExitStack() as stack:
        mtu = inner_mtu(topology)
        descriptors: list[int] = []
        if role.has_tun(topology, node.name):
            descriptors = stack.enter_context(open_tun(node.shards))
            await _set_up_tun(node, topology, mtu)
        core = await _open_core(node, credentials, descriptors, mtu, options)
        stack.callback(core.stop)
        control = ControlPlane(
            topology=topology,
            name=node.name,
            credentials=credentials,
            core=core,
            role=role,
            rng=rng,
            clock=trio.current_time,
            today=lambda: datetime.now(UTC),
            fail=exit_at_once,
        )
        loaded = Loaded(revision_of(options.topology), time.time())
        reloader = Reloader(options.topology, options.pki, control, loaded, time.time)
        core.start()
        control.begin()
        log.info("node started", role=node.role.value, number=node.number, mtu=mtu, status=str(node.status))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, core, exit_at_once)
                nursery.start_soon(pump_events, core, control.receive, control.settle)
                nursery.start_soon(control.run_timers)
                nursery.start_soon(control.watch_paths)
                await reloader.capture_addresses()
                view = View(control, loaded, rng, trio.current_time, time.time, lambda: sum(busy_seconds()))
                handle = node_handle(control, view.is_ready)
                handle = replace(handle, topology_file=options.topology, recapture=reloader.recapture)
                await nursery.start(role.serve, handle)
                nursery.start_soon(follow, view.record)
                await nursery.start(_serve_status, view, node.status)
                nursery.start_soon(reloader.follow)
                task_status.started(control)
                await obey(signals, reloader, control)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await release_capture(reloader.capture, Capture())


async def obey(signals: AsyncIterator[int], reloader: Reloader, control: ControlPlane) -> None:
    """SIGHUP reloads; SIGTERM or SIGINT drains and returns, a second one returns at once."""
    async for number in signals:
        if number == signal.SIGHUP:
            await reloader.reload()
            continue
        log.info("draining", signal=signal.Signals(number).name)
        control.drain()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_linger, control, nursery.cancel_scope)
            async for again in signals:
                if again != signal.SIGHUP:
                    break
            nursery.cancel_scope.cancel()
        return


async def _linger(control: ControlPlane, scope: trio.CancelScope) -> None:
    """Until the DNS nodes had time to learn of it, and what is under way on clients' connections has ended."""
    role = control.role
    for _ in range(round(LONGEST_DRAIN / DRAIN)):
        busy = isinstance(role, Finishes) and role.finish()
        await trio.sleep(DRAIN)
        if not busy:
            break
    scope.cancel()


async def _serve_status(view: View, bind: SocketAddress, *, task_status: trio.TaskStatus[None]) -> None:
    """``braid.status.app.serve``, imported here: traffic after a restart need not wait 0.1 s for a web framework."""
    app = await trio.to_thread.run_sync(importlib.import_module, "braid.status.app")
    await app.serve(view, bind, task_status=task_status)


async def _set_up_tun(node: Node, topology: Topology, mtu: int) -> None:
    await configure_tun(node.number, mtu)
    if any(vip.address.version == 6 for vip in topology.vips):
        try:
            await configure_tun_ipv6(node.number)
        except LinuxError as error:
            log.warning("network is not as it should be", problem=f"IPv6 is not available: {error}")


async def _open_core(
    node: Node, credentials: Credentials, descriptors: list[int], mtu: int, options: Options
) -> CoreApi:
    """The core with its sockets bound. StartError names the address that cannot be had and the remedy."""
    deadline = trio.current_time() + BIND_PATIENCE
    while True:
        try:
            return open_core(
                role=node.role.value,
                number=node.number,
                private_key=credentials.private_key,
                listen=[(str(host), node.port) for host in node.underlay],
                tun_fds=descriptors,
                mtu=mtu,
                udp_gso=options.udp_gso,
                udp_gro=options.udp_gro,
                tun_offload=options.tun_offload,
                rate_mbit=options.rate_mbit,
                receive_us=options.receive_us,
                send_us=options.send_us,
                shards=node.shards,
            )
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or trio.current_time() > deadline:
                raise StartError(f"{error.strerror or error}; {_bind_remedy(error, node)}") from error
        await trio.sleep(0.2)


def _bind_remedy(error: OSError, node: Node) -> str:
    match error.errno:
        case errno.EADDRNOTAVAIL:
            return f"correct nodes.{node.name}.underlay in the topology, or give this host the address"
        case errno.EADDRINUSE:
            last = node.port + node.shards - 1
            ports = f"port {node.port}" if last == node.port else f"a port from {node.port} to {last}"
            return f"another program uses UDP {ports}: stop it, or choose nodes.{node.name}.port"
        case _:
            return f"check nodes.{node.name} in the topology against this host"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
