"""``python -m bench.probing``: what an hour of probing on 50 links costs a node in memory and CPU time.

Three parts; ``--only`` takes one of them. Results go to bench/probing.json with ``--store``; other parts stay there.

``core``: the engines of an edge and a gateway with 50 neighbours and 16 paths between them, in memory, for an hour of
simulated time (``braid-micro --probing``): datagrams, and the growth of memory after the first ten minutes.
``control``: the same hour of what Python does by the clock with the counters of such a node. ``lab`` (root): 52 real
nodes in namespaces, an edge and a gateway with 50 neighbours each and no traffic; CPU time of their processes, first
where all nodes take turns on all processors, then of each on a processor of its own. There what the neighbours'
kernels do with its datagrams is not counted as its own, as between machines, and that is what has to be below 1 %.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import yaml

from bench import cpu
from bench.machine import described, machine
from braid import log as logs
from braid import pki
from braid.control import ControlPlane
from braid.credentials import load_credentials
from braid.events import Established
from braid.roles import role_runtime
from braid.view import Loaded, View
from lab.up import up
from topology.model import Role
from topology.source import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from braid.core import CoreApi
    from lab.running import RunningLab

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "dataplane" / "target" / "release" / "braid-micro"
RESULTS = Path(__file__).with_name("probing.json")
LINKS = 50
RELAYS = (21, 22)
"""Numbers of the first intermediates, as in the engines' part."""
HOUR = 3600
FULL = 600
"""Seconds after which histories by the second are full."""
WARM_UP = 20.0
"""Seconds from the last node's start to the measurement: sessions are made, histories begin."""
READY_TIMEOUT = 180.0
ENDS = ("edge", "gateway")
MOST_SHARE = 0.01
"""Of one core, for a node that has one."""


def topology(links: int) -> dict[str, Any]:
    """An edge and a gateway, each a neighbour of so many intermediates, every one a region of its own."""
    numbers = [*RELAYS, *range(100, 100 + links - len(RELAYS))]
    middle = [f"mid-{number}" for number in numbers]
    roles = {"edge": "edge", "gateway": "gateway"} | dict.fromkeys(middle, "intermediate")
    nodes: dict[str, dict[str, Any]] = {
        name: {"region": name, "number": number, "underlay": [f"10.96.0.{number}"]}
        for name, number in zip(middle, numbers, strict=True)
    }
    nodes["edge"] = {"region": "edge", "number": 11, "underlay": ["10.96.0.11"], "vip_pools": ["10.97.1.128/28"]}
    nodes["gateway"] = {"region": "gateway", "number": 31, "underlay": ["10.96.0.31"], "snat_pools": ["10.98.0.128/30"]}
    return {
        "braid": 1,
        "name": "probing",
        "zone": {"name": "apps.example"},
        "regions": {name: {"role": role} for name, role in roles.items()},
        "nodes": nodes,
        "applications": {
            "all": {"hostnames": ["all.apps.example"], "ports": ["any"], "targets": [{"address": "10.98.0.10"}]}
        },
        "lab": {
            "underlay": ["10.96.0.0/24"],
            "networks": {
                "clients": {
                    "prefixes": ["10.97.1.0/24"],
                    "members": {"edge": ["10.97.1.2"], "client": ["10.97.1.10"]},
                },
                "origins": {
                    "prefixes": ["10.98.0.0/24"],
                    "members": {"gateway": ["10.98.0.2"], "origin": ["10.98.0.10"]},
                },
            },
            "hosts": {"client": {"kind": "client"}, "origin": {"kind": "origin"}},
        },
    }


def in_namespaces(links: int, seconds: float) -> dict[str, Any]:
    """CPU time of the two nodes with many links, as shares of one core, and what they sent meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), links)
        with up(file, direct=True, ready_timeout=READY_TIMEOUT) as lab:
            time.sleep(WARM_UP)
            shared = _measured(lab, ENDS, seconds)
            apart: dict[str, Any] = {}
            for name in ENDS:
                _part(lab, name)
                time.sleep(1.0)
                apart |= _measured(lab, (name,), seconds)
    return {"links": links, "seconds": seconds, "nodes": shared, "on_a_processor_of_its_own": apart}


def _measured(lab: RunningLab, names: Iterable[str], seconds: float) -> dict[str, Any]:
    # No answer about the status is a part of it.
    counted = {name: _counted(lab.status(name)) for name in names}
    spent = {name: _spent(lab.nodes[name]) for name in counted}
    time.sleep(seconds)
    spent_after = {name: _spent(lab.nodes[name]) for name in counted}
    found: dict[str, Any] = {}
    for name in counted:
        after = spent_after[name] | _counted(lab.status(name))
        grown = {what: after[what] - earlier for what, earlier in (spent[name] | counted[name]).items()}
        found[name] = {
            "share_of_a_core": round(grown["cpu_s"] / grown["at"], 5),
            "data_thread_share": round(grown["thread_s"] / grown["at"], 5),
            "data_thread_wakings_per_second": round(grown["wakings"] / grown["at"], 1),
            "sent_per_second": round(grown["sent"] / grown["at"], 1),
            "received_per_second": round(grown["received"] / grown["at"], 1),
            "bytes_sent_per_second": round(grown["bytes"] / grown["at"]),
            "summaries_heard_per_second": round(grown["heard"] / grown["at"], 1),
            "summaries_sent_per_second": round(grown["told"] / grown["at"], 1),
            "resident_growth_bytes": grown["resident"],
            "resident_bytes": after["resident"],
            "neighbours_up": sum(each["up"] for each in lab.status(name)["neighbours"]),
        }
    return found


def _part(lab: RunningLab, alone: str) -> None:
    """From here on one node has a processor to itself, the rest of the lab has the others, and what a node receives is
    worked on by the receiving side's processor (receive packet steering): as between machines with network cards."""
    first, *others = sorted(os.sched_getaffinity(0))
    for name, pid in lab.nodes.items():
        processors = {first} if name == alone else set(others)
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), processors)
        if name in lab.topology.nodes:
            mask = f"{sum(1 << number for number in processors):x}"
            queues = "/sys/class/net/to-*/queues/rx-*/rps_cpus"
            lab.exec(name, ["sh", "-c", f"for queue in {queues}; do echo {mask} > $queue; done"])


def _spent(pid: int) -> dict[str, float]:
    return {
        "at": time.monotonic(),
        "cpu_s": cpu.seconds([pid]),
        "thread_s": cpu.seconds_of_threads(pid, "braid-shard"),
        "wakings": cpu.wakings_of_threads(pid, "braid-shard"),
        "resident": _resident(pid),
    }


def _counted(status: dict[str, Any]) -> dict[str, float]:
    return {
        "sent": status["io"]["udp_tx_datagrams"],
        "received": status["io"]["udp_rx_datagrams"],
        "bytes": status["io"]["udp_tx_bytes"],
        "heard": status["summaries"]["received"] + status["summaries"]["old"],
        "told": status["summaries"]["sent"],
    }


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def written(folder: Path, links: int) -> Path:
    file = folder / "probing.yaml"
    file.write_text(yaml.safe_dump(topology(links), sort_keys=False))
    return file


def engines(seconds: int) -> dict[str, Any]:
    """What ``braid-micro`` found, the last snapshot of its edge included."""
    ran = subprocess.run([str(PROGRAM), "--probing", str(seconds)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


class StillCore:
    """A core that does nothing and shows these counters."""

    def __init__(self, counters: dict[str, Any]) -> None:
        self.counters = counters
        self.text = ""
        shown = ("peer", "id", "route", "in_use", "active", "arrives", "rtt_us")
        paths = [{name: path[name] for name in shown} for path in counters["paths"]]
        self.arriving = json.dumps([{"paths": paths, "io": {}}])

    def show(self) -> None:
        """As it would be now; what neighbours' sessions count is asked for by nobody here."""
        sessions = [entry for entry in self.counters["sessions"] if not entry["adjacent"]]
        self.text = json.dumps([{**self.counters, "sessions": sessions}])

    def snapshot(self, whole: bool = True) -> str:
        return self.text

    def arrivals(self) -> str:
        return self.arriving

    def events(self, _limit: int = 0) -> tuple[()]:
        return ()

    def last_turn(self) -> int:
        return 0

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


def control(counters: dict[str, Any], links: int, seconds: int) -> dict[str, Any]:
    """What the control side of a node at rest takes, with such counters of its core: status, memory and summaries each
    second, looks at paths, a look at certificates. Its event loop and messages of others are not in it."""
    logs.configure(level="warning")
    core, pid, now = StillCore(counters), os.getpid(), [1e6]
    core.show()
    with tempfile.TemporaryDirectory() as folder:
        found = load(written(Path(folder), links))
        pki.init(found, Path(folder) / "pki", datetime.now(UTC))
        plane = ControlPlane(
            topology=found,
            name="edge",
            credentials=load_credentials(Path(folder) / "pki", "edge"),
            core=cast("CoreApi", core),
            role=role_runtime(Role.EDGE, Random(1)),
            rng=Random(1),
            clock=lambda: now[0],
            today=lambda: datetime.now(UTC),
            fail=sys.exit,
        )
    plane.begin()
    for node in found.nodes.values():
        if node.name != "edge":
            plane.receive(Established(int(node.number), node.role is Role.INTERMEDIATE, 1, True, 7))
    view = View(plane, Loaded("bench", 1e9), Random(1), lambda: now[0], lambda: 1e9 + now[0], lambda: 0.0)
    spent, before = 0.0, 0
    for second in range(seconds):
        if second == FULL:
            before = _resident(pid)
        _count_on(counters)
        core.show()
        began = time.process_time()
        for _ in view.record(now[0]):
            pass
        plane.review_peers()
        now[0] += 0.5
        plane.look_at_arrivals()
        spent += time.process_time() - began
        now[0] += 0.5
    growth = _resident(pid) - before
    return {"seconds": seconds, "share_of_a_core": round(spent / seconds, 5), "resident_growth_bytes": growth}


def _count_on(counters: dict[str, Any]) -> None:
    """Another second of probes."""
    for neighbour in counters["neighbours"]:
        neighbour["tx_datagrams"] += 10
        neighbour["rx_datagrams"] += 10
    for path in counters["paths"]:
        path["copies_sent"] += 10
    for received in counters["received"]:
        received["first"] += 1


def measured(only: str | None, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"links": LINKS}
    if only in (None, "core", "control"):
        core = engines(HOUR)
        snapshot = core.pop("snapshot")
        found["core"] = core | {"share_of_a_core_per_node": round(core["elapsed_s"] / core["seconds"] / 2, 5)}
        found["control"] = control(snapshot, LINKS, HOUR)
    if only in (None, "lab"):
        found["lab"] = in_namespaces(LINKS, seconds)
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.probing", description="What probing costs a node with 50 links.")
    parser.add_argument("--only", choices=("core", "control", "lab"))
    parser.add_argument("--seconds", type=float, default=60.0, help="that the namespaces are measured")
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args(arguments)
    found = {"machine": machine(), **measured(chosen.only, chosen.seconds)}
    print(described(found["machine"]))
    print(json.dumps({name: value for name, value in found.items() if name != "machine"}, indent=2))
    if chosen.store:
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(stored | found, indent=2) + "\n")
    apart = found.get("lab", {}).get("on_a_processor_of_its_own", {})
    shares = {name: node["share_of_a_core"] for name, node in apart.items()}
    too_much = {name: f"{100 * share:.2f} %" for name, share in shares.items() if share > MOST_SHARE}
    for name, share in too_much.items():
        print(f"bench.probing: {name}: {share} of a core, more than {100 * MOST_SHARE:g} %", file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
