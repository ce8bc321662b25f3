"""``python -m bench.drain``: a gateway with many live connections is drained, stopped, and gets them back (root).

One edge, two relays, two gateways of a region on the servers' network, in namespaces on this machine. So many
connections are live, so many of them download at an even pace (``bench.drain_load``), the others ask. Modes are
``nat``, ``fast-path``, connections that a proxy has given back to the data plane (``spliced``), and those of HTTP, of
which downloads are spliced and the others rest between two requests, without a server (``http``). Measured are the
longest pause of each download before the drain, while it goes on, while the drained gateway is stopped and started (a
rolling upgrade), and while the connections come home; connections that failed; what the drain took. A pause holds the
server's own pace (20 ms); ``gap_ms`` is what is beyond it. Results go to ``bench/drain.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any

import yaml

from bench.drain_load import PACE
from bench.machine import described, machine, preferred
from braid.commands_drain import drain, undrain
from lab.errors import LabError
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("drain.json")
NAME = "bench-drain"
EDGE, CLIENT, SERVER = "edge-1", "client", "origin-1"
GATEWAY, SIBLING = "gw-a", "gw-b"
PORT = 7007
MODES: dict[str, dict[str, Any]] = {
    "nat": {"mode": "nat"},
    "fast-path": {"mode": "fast-path"},
    "spliced": {
        "mode": "proxy",
        "ports": ["tcp/80", f"tcp/{PORT}-{PORT + 1}"],
        "proxy": {"kind": "tcp", "connections": 20_000},
    },
    "http": {
        "mode": "proxy",
        "ports": ["tcp/80", f"tcp/{PORT}-{PORT + 1}"],
        "proxy": {"kind": "http", "splice_above": 100_000, "connections": 20_000, "access_log": False},
    },
}
"""The application of each."""
OTHERS: dict[str, dict[str, Any]] = {
    "pooled": {"mode": "proxy", "ports": ["tcp/80"], "proxy": {"kind": "http"}},
}
"""Applications that are not measured."""


def document(name: str = NAME) -> dict[str, Any]:
    nodes: dict[str, Any] = {
        EDGE: {
            "region": "edge",
            "underlay": ["10.90.0.11"],
            "vip_pools": ["10.91.1.128/26"],
            "serves": ["10.91.1.0/24"],
        },
        "mid-1": {"region": "mid-a", "underlay": ["10.90.0.21"]},
        "mid-2": {"region": "mid-b", "underlay": ["10.90.0.22"]},
        GATEWAY: {"region": "gw", "underlay": ["10.90.0.31"], "snat_pools": ["10.93.0.128/30"]},
        SIBLING: {"region": "gw", "underlay": ["10.90.0.32"], "snat_pools": ["10.93.0.132/30"]},
    }
    applications = {
        mode: {
            "hostnames": [f"{mode}.apps.example"],
            "ports": ["any"],
            "targets": [{"address": "10.93.0.10"}],
            "gateways": ["gw"],
            "copies": 1,
            **how,
        }
        for mode, how in (MODES | OTHERS).items()
    }
    return {
        "braid": 1,
        "name": name,
        "zone": {"name": "apps.example"},
        "regions": {
            "edge": {"role": "edge"},
            "mid-a": {"role": "intermediate"},
            "mid-b": {"role": "intermediate"},
            "gw": {"role": "gateway", "cookie_secret": "5a" * 16},
        },
        "nodes": nodes,
        "applications": applications,
        "lab": {
            "underlay": ["10.90.0.0/24"],
            "networks": {
                "clients": {"prefixes": ["10.91.1.0/24"], "members": {EDGE: ["10.91.1.2"], CLIENT: ["10.91.1.10"]}},
                "origins": {
                    "prefixes": ["10.93.0.0/24"],
                    "members": {GATEWAY: ["10.93.0.2"], SIBLING: ["10.93.0.3"], SERVER: ["10.93.0.10"]},
                },
            },
            "hosts": {CLIENT: {"kind": "client"}, SERVER: {"kind": "origin"}},
        },
    }


@contextmanager
def running(
    directory: Path, name: str = NAME, found: dict[str, Any] | None = None, *, direct: bool = True
) -> Iterator[RunningLab]:
    """``found``: another document than ``document(name)``; ``direct`` as ``lab.up.up``."""
    file = directory / "net.yaml"
    file.write_text(yaml.safe_dump(found or document(name), sort_keys=False))
    take_down(name)
    with preferred(), up(file, direct=direct, together=True) as lab:
        wait_for_sibling(lab)
        lab.listening(SERVER, [sys.executable, "-m", "bench.drain_load", "server", str(PORT)])
        yield lab


def wait_for_sibling(lab: RunningLab, timeout: float = 15.0) -> None:
    """Until both gateways have sessions with each other and with the edge."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for name in (GATEWAY, SIBLING):
            sessions = lab.status(name)["sessions"]
            if sum(not session["adjacent"] and session["usable"] for session in sessions) < 2:
                break
        else:
            return
        time.sleep(0.1)
    raise LabError(f"{GATEWAY} and {SIBLING} have no sessions", "see their logs")


def vip(lab: RunningLab, mode: str, version: int = 4) -> str:
    (found,) = (str(each.address) for each in vip_for(lab.topology, EDGE, mode) if each.address.version == version)
    return found


class Clients:
    """The load of one application."""

    def __init__(self, lab: RunningLab, mode: str, connections: int, downloads: int) -> None:
        argv = [
            sys.executable,
            "-m",
            "bench.drain_load",
            "client",
            vip(lab, mode),
            str(PORT),
            str(connections),
            str(downloads),
            *(["http"] if mode == "http" else []),
        ]
        self._child = lab.popen(CLIENT, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "ready":
            raise LabError("the clients cannot connect", "see what they say on stderr")

    def mark(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._say("mark"))
        return found

    def ask(self) -> dict[str, Any]:
        """Of all that do not download. What they cost the downloads is over when it returns."""
        found: dict[str, Any] = json.loads(self._say("ask"))
        time.sleep(1.0)
        return found

    def stop(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("stop\n")
        self._child.stdin.flush()
        self._child.wait(timeout=20)

    def _say(self, word: str) -> str:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{word}\n")
        self._child.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._child.stdout is not None
        line: str = self._child.stdout.readline()
        return line.strip()


def pauses(found: dict[str, Any]) -> dict[str, Any]:
    """Of one part of the measurement."""
    each = found["pauses_ms"]
    place = {"median": len(each) // 2, "p99": max(0, -(-len(each) * 99 // 100) - 1), "longest": len(each) - 1}
    shown = {name: each[index] for name, index in place.items()} if each else {}
    gaps = {name: round(max(0.0, pause - PACE * 1000), 1) for name, pause in shown.items()}
    failed = found["failed"]
    return {"gap_ms": gaps, "pause_ms": shown, "live": found["live"], "failed": len(failed), "why": sorted(set(failed))}


def said(lab: RunningLab, gateway: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.status(gateway)["drain"]
    return found


def order(lab: RunningLab, *, back: bool = False) -> float:
    """Seconds until it is done, as the operator's command sees it."""
    began = time.monotonic()
    code = undrain(GATEWAY, 60, None, lab.name) if back else drain(GATEWAY, SIBLING, False, 60, None, lab.name)
    if code:
        raise LabError(f"{'undrain' if back else 'drain'} ended with {code}", f"see the log {lab.log(GATEWAY)}")
    return round(time.monotonic() - began, 2)


def measure(lab: RunningLab, mode: str, connections: int, downloads: int, calm: float = 3.0) -> dict[str, Any]:
    """One rolling upgrade under load."""
    clients = Clients(lab, mode, connections, downloads)
    parts: dict[str, Any] = {"connections": connections, "downloads": downloads}
    time.sleep(calm)
    clients.mark()
    time.sleep(calm)
    parts["before"] = pauses(clients.mark())
    seconds = order(lab)
    parts["drain"] = {**pauses(clients.mark()), "seconds": seconds, "said": said(lab, GATEWAY)}
    parts["drain"]["answers"] = clients.ask()
    clients.mark()
    lab.kill(GATEWAY, SIGTERM)
    time.sleep(calm)
    lab.start(GATEWAY)
    lab.wait_ready(GATEWAY)
    wait_for_sibling(lab)
    parts["restart"] = {**pauses(clients.mark()), "answers": clients.ask()}
    clients.mark()
    seconds = order(lab, back=True)
    parts["undrain"] = {**pauses(clients.mark()), "seconds": seconds, "said": said(lab, GATEWAY)}
    parts["undrain"]["answers"] = clients.ask()
    clients.stop()
    return parts


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description=__doc__)
    parser.add_argument("--only", action="append", choices=MODES, help="may be given several times")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--downloads", type=int, default=200)
    parser.add_argument("--no-write", action="store_true", help="leave bench/drain.json as it is")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for mode in options.only or MODES:
        with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as lab:
            found = measure(lab, mode, options.connections, options.downloads)
            results[mode] = {"machine": described(machine()), **found}
        print(mode, json.dumps(results[mode], indent=2), flush=True)
        if not options.no_write:
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
