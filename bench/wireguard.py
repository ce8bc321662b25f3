"""wireguard-go as a contender: one tunnel, one copy, between edge and gateway over the kernel's forwarding.

Its packets take the same namespaces as the kernel's own. An address of its own at the origin tells its traffic apart.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from bench.routes import Tunnel, Way, join_ends, lead_through
from lab import namespaces
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

ADDRESS = "10.93.0.210"
INTERFACES = ("wgbench0", "wgbench1")
"""At the edge and at the gateway: their control sockets share one folder, so their names must differ."""
PORT = 51820
MTU = "1420"
STARTS_WITHIN = 5.0


def program() -> str | None:
    """The wireguard-go to measure: ``WIREGUARD_GO``, else the one on PATH. None without it, or without ``wg``."""
    found = os.environ.get("WIREGUARD_GO") or shutil.which("wireguard-go")
    return found if found and shutil.which("wg") else None


def version(wireguard: str) -> str:
    said = subprocess.run([wireguard, "--version"], capture_output=True, text=True, check=False).stdout
    return said.split("\n", 1)[0].removeprefix("wireguard-go ").removeprefix("v").strip()


@contextmanager
def tunnel(lab: RunningLab, wireguard: str, way: Way, origin: str) -> Iterator[Tunnel]:
    """Brings the tunnel up between the ends of ``way``, its packets forwarded by the kernel between them."""
    edge, _, gateway = way
    private = {node: _wg("genkey") for node in (edge, gateway)}
    join_ends(lab, way)
    with ExitStack() as stack:
        near, far = INTERFACES
        processes = []
        for node, peer, interface in ((edge, gateway, near), (gateway, edge, far)):
            processes.append(_start(lab, wireguard, node, interface, stack))
            endpoint = f"{lab.topology.nodes[peer].underlay[0]}:{PORT}"
            public = _wg("pubkey", stdin=private[peer])
            settings = [interface, "listen-port", str(PORT), "private-key", "/dev/stdin"]
            peering = ["peer", public, "endpoint", endpoint, "allowed-ips", "0.0.0.0/0"]
            lab.exec(node, ["wg", "set", *settings, *peering], stdin=private[node])
            namespaces.ip("-n", lab.namespace(node), "link", "set", interface, "mtu", MTU, "up")
        lead_through(lab, way, INTERFACES, origin, ADDRESS)
        yield Tunnel(ADDRESS, {"edge": (processes[0],), "gateway": (processes[1],)})


def _wg(command: str, stdin: str | None = None) -> str:
    done = subprocess.run(["wg", command], input=stdin, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _start(lab: RunningLab, wireguard: str, node: str, interface: str, stack: ExitStack) -> int:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = lab.popen(node, ["env", "LOG_LEVEL=error", wireguard, "--foreground", interface], **quiet)
    stack.callback(process.wait, timeout=5)
    stack.callback(process.terminate)
    deadline = time.monotonic() + STARTS_WITHIN
    while lab.exec(node, ["wg", "show", interface], check=False).returncode != 0:
        if time.monotonic() > deadline or process.poll() is not None:
            raise LabError(f"{wireguard} does not start in {node}")
        time.sleep(0.05)
    return process.pid
