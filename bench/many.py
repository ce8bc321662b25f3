"""``python -m bench.many``: thousands of connections that move to a content proxy at once, and what becomes of them
when its worker is killed, or it is stopped (root).

The topology of ``bench.transfer``. ``offers``: all clients ask for what the proxy has in the same moment, on
connections of their own; how many it served, why the gateway served the others, and what each waited. ``killed``: the
worker gets SIGKILL while all of these connections are there and some of them download 4 MB, no faster than 160 kB a
second; then all ask once more. ``stopped``: the proxy gets SIGTERM with that many connections, and all ask once more
when it has gone. A client fails that is reset, or cut off, or gets another byte. Results go to ``bench/many.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.crowd import Crowd
from bench.machine import described, machine
from bench.transfer import ADDRESS, EDGE, GATEWAY, HOST, MOVED, NAME, NODE, SERVED, document, ready, spread, wait
from lab.origin import digest, size_of
from lab.running import take_down
from lab.up import up
from lab.workers import worker_of
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.crowd import Client
    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("many.json")
SIZE = "4MB"
PATH = f"/cached/{SIZE}"
AT_ONCE, SOME = 100, 20
"""Clients that begin at a time, and downloads: fewer than a gateway offers at one time."""
BUFFER = 32_768


def crowd_of(lab: RunningLab) -> Crowd:
    vip = str(vip_for(lab.topology, EDGE, "web")[0].address)
    return Crowd(lab.plan.members["client"].namespace, (vip, 80), HOST)


def begun(crowd: Crowd, count: int, buffer: int = 0) -> list[Client]:
    """So many clients more, that have had an answer of the origin."""
    found = crowd.open(count, buffer=buffer)
    for begin in range(0, count, AT_ONCE):
        some = found[begin : begin + AT_ONCE]
        crowd.ask(some, SERVED)
        crowd.follow(some, 20)
    problems = Counter(client.problem for client in found if client.problem)
    if problems:
        print("cannot begin:", dict(problems))
    # Acknowledgements may be delayed by 40 ms.
    time.sleep(0.1)
    return [client for client in found if not client.problem]


def moved(crowd: Crowd, clients: list[Client]) -> int:
    """How many of them are at the proxy, after some times that they asked for what it has."""
    for _ in range(4):
        left = [client for client in clients if not client.is_from(NODE)]
        for begin in range(0, len(left), AT_ONCE):
            some = left[begin : begin + AT_ONCE]
            crowd.ask(some, MOVED)
            crowd.follow(some, 20)
        time.sleep(0.1)
    return sum(client.is_from(NODE) for client in clients)


def outcome(clients: list[Client], size: int) -> dict[str, Any]:
    """Of what they asked last."""
    problems = Counter(
        client.problem or ("no answer" if client.busy else "other bytes")
        for client in clients
        if client.problem or client.busy or client.digest.hexdigest() != digest(size)
    )
    good = [client for client in clients if not client.problem and not client.busy]
    found: dict[str, Any] = {
        "clients": len(clients),
        "failed": sum(problems.values()),
        "problems": dict(problems.most_common()),
        "by_the_proxy": sum(client.is_from(NODE) for client in good),
    }
    return found | (spread([client.waited_ms for client in good]) if good else {})


def counts(lab: RunningLab, node: str) -> Counter[str]:
    told = lab.status(node)["transfers"]
    numbers = {word: value for word, value in told.items() if isinstance(value, int)}
    return Counter(numbers | told["refused"] | told["events"])


def offers(lab: RunningLab, count: int) -> dict[str, Any]:
    crowd = crowd_of(lab)
    clients = begun(crowd, count)
    before = {node: counts(lab, node) for node in (GATEWAY, NODE)}
    crowd.ask(clients, MOVED)
    crowd.follow(clients, 60)
    found = outcome(clients, int(MOVED.rpartition("/")[2]))
    time.sleep(1.5)
    for node in (GATEWAY, NODE):
        found[node] = dict(counts(lab, node) - before[node])
    crowd.close()
    settled(lab)
    return found


def killed(lab: RunningLab, count: int, downloads: int) -> dict[str, Any]:
    crowd = crowd_of(lab)
    resting = begun(crowd, count - downloads)
    loading = begun(crowd, downloads, BUFFER)
    found: dict[str, Any] = {"moved": moved(crowd, resting)}
    for begin in range(0, downloads, SOME):
        crowd.ask(loading[begin : begin + SOME], PATH, slowly=True)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            crowd.turn(0.05)
    before = Counter(lab.status(NODE)["content"]["events"])
    found["downloads_at_the_proxy"] = sum(client.is_from(NODE) for client in loading if client.busy)
    pid = worker_of(lab.nodes[NODE])
    assert pid is not None
    found["descriptors"] = {"worker": descriptors(pid), "node": descriptors(lab.nodes[NODE])}
    at, got = time.monotonic(), sum(client.got for client in loading)
    os.kill(pid, signal.SIGKILL)
    while sum(client.got for client in loading) < got + 2 * downloads * BUFFER and time.monotonic() < at + 30:
        crowd.turn(0.01)
    crowd.hurry()
    crowd.follow(loading, 60)
    found["downloads"] = outcome(loading, size_of(SIZE))
    found["problems_at_rest"] = dict(Counter(client.problem for client in resting if client.problem))
    asked = time.monotonic()
    crowd.ask(resting, MOVED)
    crowd.follow(resting, 60)
    found["asked_after_s"] = round(asked - at, 2)
    found["asked_again"] = outcome(resting, int(MOVED.rpartition("/")[2]))
    time.sleep(1)
    found["events"] = dict(Counter(lab.status(NODE)["content"]["events"]) - before)
    crowd.close()
    settled(lab)
    return found


def stopped(lab: RunningLab, count: int) -> dict[str, Any]:
    crowd = crowd_of(lab)
    clients = begun(crowd, count)
    found: dict[str, Any] = {"moved": moved(crowd, clients)}
    before = counts(lab, GATEWAY)
    began = time.monotonic()
    os.kill(lab.nodes[NODE], signal.SIGTERM)
    while Path(f"/proc/{lab.nodes[NODE]}/stat").exists() and _state(lab.nodes[NODE]) != "Z":
        crowd.turn(0.05)
    found["took_s"] = round(time.monotonic() - began, 1)
    found["problems_at_rest"] = dict(Counter(client.problem for client in clients if client.problem))
    time.sleep(0.5)
    crowd.ask(clients, SERVED)
    crowd.follow(clients, 60)
    found["asked_again"] = outcome(clients, int(SERVED.rpartition("/")[2]))
    found[GATEWAY] = dict(counts(lab, GATEWAY) - before)
    crowd.close()
    return found


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _state(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def settled(lab: RunningLab) -> None:
    """The proxy has no connection any more."""
    wait(lambda: lab.status(NODE, timeout=30)["transfers"]["open"] == 0, 60)


def measure(lab: RunningLab, chosen: argparse.Namespace) -> dict[str, Any]:
    ready(lab)
    fetch = ["curl", "-sS", "--fail", "-o", "/dev/null", "--connect-to", f"::{ADDRESS}:80", f"http://{HOST}{PATH}"]
    lab.exec("client", fetch, timeout=60)
    time.sleep(1.5)
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "offers": lambda: offers(lab, chosen.connections),
        "killed": lambda: killed(lab, chosen.connections, chosen.downloads),
        "stopped": lambda: stopped(lab, chosen.connections),
    }
    found: dict[str, Any] = {}
    for name in chosen.only:
        found[name] = ways[name]()
        print(name, json.dumps(found[name]), flush=True)
    return found


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.many")
    options.add_argument("--connections", type=int, default=2000)
    options.add_argument("--downloads", type=int, default=100)
    options.add_argument("--only", nargs="+", default=["offers", "killed", "stopped"])
    options.add_argument("--keep", action="store_true", help="write results")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        found = document(directory)
        found["nodes"][NODE]["content"]["connections"] = 100_000
        found["transfers"].append({"application": "web", "proxies": [NODE], "path": PATH})
        file.write_text(yaml.safe_dump(found, sort_keys=False))
        with suppress(OSError):
            take_down(NAME)
        with up(file) as lab:
            try:
                results = measure(lab, chosen)
            finally:
                if not chosen.keep:
                    print(lab.log_tail(NODE, 15))
                    print(lab.log_tail(GATEWAY, 5))
    if chosen.keep:
        RESULTS.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()
