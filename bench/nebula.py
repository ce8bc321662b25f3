"""nebula as a contender: one tunnel, one copy, between edge and gateway over the kernel's forwarding.

Both know each other's underlay address, so there is no lighthouse. Clients and origin are behind them as unsafe
networks. An address of its own at the origin tells its traffic apart.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.routes import Tunnel, Way, join_ends, lead_through
from lab import namespaces
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

ADDRESS = "10.93.0.211"
INTERFACES = ("nbbench0", "nbbench1")
OVERLAY = ("10.99.211.1", "10.99.211.2")
"""nebula's own addresses of the edge and of the gateway."""
PORT = 4242
MTU = 1420
"""Its default is 1300; it adds 60 bytes."""
STARTS_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Programs:
    nebula: str
    cert: str


def programs() -> Programs | None:
    """``NEBULA``, else nebula on PATH; ``NEBULA_CERT``, else nebula-cert beside it or on PATH. None without both."""
    found = os.environ.get("NEBULA") or shutil.which("nebula")
    if not found:
        return None
    beside = Path(found).with_name("nebula-cert")
    cert = os.environ.get("NEBULA_CERT") or (str(beside) if beside.exists() else shutil.which("nebula-cert"))
    return Programs(found, cert) if cert else None


def version(nebula: str) -> str:
    said = subprocess.run([nebula, "-version"], capture_output=True, text=True, check=False).stdout
    return said.split("\n", 1)[0].removeprefix("Version:").strip()


@contextmanager
def tunnel(lab: RunningLab, found: Programs, way: Way, origin: str, directory: Path) -> Iterator[Tunnel]:
    """Brings the tunnel up between the ends of ``way``; keys and settings go into ``directory``."""
    edge, _, gateway = way
    clients = next(str(n.prefixes[0]) for n in lab.topology.lab.networks if edge in n.members)
    _cert(found, "ca", "-name", "bench", "-out-crt", directory / "ca.crt", "-out-key", directory / "ca.key")
    join_ends(lab, way)
    ends = (
        _End(edge, INTERFACES[0], OVERLAY[0], clients, OVERLAY[1], gateway, f"{ADDRESS}/32"),
        _End(gateway, INTERFACES[1], OVERLAY[1], f"{ADDRESS}/32", OVERLAY[0], edge, clients),
    )
    with ExitStack() as stack:
        near, far = (_start(lab, found, end, directory, stack) for end in ends)
        lead_through(lab, way, INTERFACES, origin, ADDRESS)
        yield Tunnel(ADDRESS, {"edge": (near,), "gateway": (far,)})


@dataclass(frozen=True, slots=True)
class _End:
    node: str
    interface: str
    address: str
    behind: str
    """What this end answers for."""
    peer: str
    """nebula's address of the other end."""
    peer_node: str
    behind_peer: str


def _start(lab: RunningLab, found: Programs, end: _End, directory: Path, stack: ExitStack) -> int:
    crt, key = directory / f"{end.node}.crt", directory / f"{end.node}.key"
    signing: list[str | Path] = [
        "-ca-crt",
        directory / "ca.crt",
        "-ca-key",
        directory / "ca.key",
        "-out-crt",
        crt,
        "-out-key",
        key,
    ]
    # The old spelling of -networks and -unsafe-networks, which versions before 1.10 know as well.
    _cert(found, "sign", "-name", end.node, "-ip", f"{end.address}/24", "-subnets", end.behind, *signing)
    config = directory / f"{end.node}.json"
    config.write_text(json.dumps(_config(lab, end, directory / "ca.crt", crt, key)))
    log = directory / f"{end.node}.log"
    with log.open("wb") as output:
        process = lab.popen(end.node, [found.nebula, "-config", str(config)], stdout=output, stderr=output)
    stack.callback(process.wait, timeout=5)
    stack.callback(process.terminate)
    deadline = time.monotonic() + STARTS_WITHIN
    while f" {end.interface}: " not in namespaces.ip("-n", lab.namespace(end.node), "-o", "link", "show", "up"):
        if time.monotonic() > deadline or process.poll() is not None:
            raise LabError(f"{found.nebula} does not start in {end.node}: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
    return process.pid


def _config(lab: RunningLab, end: _End, ca: Path, crt: Path, key: Path) -> dict[str, Any]:
    anything = {"port": "any", "proto": "any", "host": "any", "local_cidr": "0.0.0.0/0"}
    return {
        "pki": {"ca": str(ca), "cert": str(crt), "key": str(key)},
        "static_host_map": {end.peer: [f"{lab.topology.nodes[end.peer_node].underlay[0]}:{PORT}"]},
        "lighthouse": {"am_lighthouse": False, "hosts": []},
        "listen": {"host": "0.0.0.0", "port": PORT},
        "tun": {
            "dev": end.interface,
            "mtu": MTU,
            # The lab's kernels have routes of their own, which these must not replace.
            "unsafe_routes": [{"route": end.behind_peer, "via": end.peer, "install": False}],
        },
        "firewall": {"outbound": [anything], "inbound": [anything]},
        "logging": {"level": "warning"},
    }


def _cert(found: Programs, *arguments: str | Path) -> None:
    done = subprocess.run([found.cert, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{found.cert} {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
