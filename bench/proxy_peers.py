"""``python -m bench.proxy_peers``: HTTP requests through Braid's proxy and through HAProxy, in turn, on loopback.

wrk asks over kept connections for 1,000 bytes; rules by path send each request to another of three servers than the one
before (nginx). Both proxies have one thread. No root, no overlay. What is missing is said and left out: ``haproxy``,
``wrk`` and ``nginx`` are looked for in the path, or named by HAPROXY, WRK and NGINX. Results go to
bench/proxy_peers.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench.machine import described, machine
from bench.proxy import LOOPBACK, PATHS, proxy_process
from topology.model import Target
from topology.proxy import HTTP, ProxySettings, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).with_name("proxy_peers.json")
BODY = "x" * 1000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Result:
    contender: str
    turn: int
    connections: int
    requests_per_second: float
    requests_per_cpu_second: float
    """Of the proxy alone."""
    errors: dict[str, int]
    """Of connecting, reading, writing, timeouts, and statuses that are none of success, as wrk counts them."""


def program(name: str) -> str | None:
    return os.environ.get(name.upper()) or shutil.which(name) or shutil.which(name, path="/usr/sbin")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((str(LOOPBACK), 0))
        return [probe.getsockname()[1] for probe in probes]


def await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((str(LOOPBACK), port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def running(words: list[str], port: int) -> Iterator[int]:
    """A program that listens on a port; its process id."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        await_port(port)
        yield child.pid
    finally:
        child.terminate()
        child.wait()


def nginx_file(directory: Path, ports: list[int]) -> Path:
    """Three servers; each names itself in the body, behind the path that it was asked for."""
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port} backlog=1024; keepalive_requests 1000000000; location / "
        f'{{ default_type text/plain; return 200 "{number} $uri {BODY}"; }} }}\n'
        for number, port in enumerate(ports)
    )
    file = directory / "nginx.conf"
    file.write_text(
        f"daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_timeout 300; client_body_temp_path {directory}/body;\n{servers}}}\n"
    )
    return file


def haproxy_file(directory: Path, port: int, ports: list[int]) -> Path:
    chosen = "".join(f" use_backend b{number} if {{ path_beg {path} }}\n" for number, path in enumerate(PATHS))
    backends = "".join(
        f"backend b{number}\n server s 127.0.0.1:{each} pool-max-conn 256\n" for number, each in enumerate(ports)
    )
    file = directory / "haproxy.cfg"
    file.write_text(
        "global\n nbthread 1\n maxconn 4096\n"
        "defaults\n mode http\n timeout connect 2s\n timeout client 300s\n timeout server 30s\n option forwardfor\n"
        f"frontend f\n bind 127.0.0.1:{port} backlog 1024\n{chosen}{backends}"
    )
    return file


def wrk_file(directory: Path) -> Path:
    """Paths in turn."""
    file = directory / "paths.lua"
    words = ", ".join(f'"{path}x"' for path in PATHS)
    file.write_text(
        f"local paths, turn, made = {{{words}}}, 0, {{}}\n"
        "function init() for i, path in ipairs(paths) do made[i] = wrk.format('GET', path) end end\n"
        "function request() turn = turn % #made + 1 return made[turn] end\n"
    )
    return file


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def errors_of(text: str) -> dict[str, int]:
    """What wrk says went wrong."""
    found = re.findall(r"(connect|read|write|timeout|Non-2xx or 3xx responses):? (\d+)", text)
    return {name.partition(" ")[0].lower(): int(count) for name, count in found if int(count)}


def measure(name: str, turn: int, pid: int, words: list[str], connections: int) -> Result:
    before, began = cpu_seconds(pid), time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    used, took = cpu_seconds(pid) - before, time.monotonic() - began
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found is not None, done.stdout
    requests = int(found[1])
    faults = errors_of(done.stdout)
    return Result(name, turn, connections, round(requests / took, 1), round(requests / used, 1), faults)


def shares(results: list[Result]) -> dict[str, float]:
    """Braid's median as a share of HAProxy's, by connections and what is counted."""
    found = {}
    for connections in sorted({each.connections for each in results}):
        for unit in ("requests_per_second", "requests_per_cpu_second"):
            of = {
                name: [
                    getattr(each, unit) for each in results if (each.contender, each.connections) == (name, connections)
                ]
                for name in ("braid", "haproxy")
            }
            if all(of.values()):
                found[f"{unit}, {connections} connections"] = round(median(of["braid"]) / median(of["haproxy"]), 3)
    return found


def main() -> int:
    options = argparse.ArgumentParser(prog="bench.proxy_peers")
    options.add_argument("--seconds", type=int, default=5)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--connections", type=int, action="append", metavar="COUNT", help="[20 and 200]")
    chosen = options.parse_args()
    wrk, nginx, haproxy = program("wrk"), program("nginx"), program("haproxy")
    if wrk is None or nginx is None:
        print(f"bench: {'wrk' if wrk is None else 'nginx'} is not installed", file=sys.stderr)
        return 1
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        directory = Path(text)
        ports = free_ports(5)
        servers, ours, theirs = ports[:3], ports[3], ports[4]
        stack.enter_context(running([nginx, "-c", str(nginx_file(directory, servers))], servers[0]))
        targets = [Target(LOOPBACK, port, 1) for port in servers]
        rules = tuple(Rule((target,), path=path) for target, path in zip(targets, PATHS, strict=True))
        child = multiprocessing.get_context("spawn").Process(
            target=proxy_process, args=(ProxySettings(HTTP, rules=rules, access_log=False), targets, ours), daemon=True
        )
        child.start()
        stack.callback(child.join)
        stack.callback(child.terminate)
        await_port(ours)
        assert child.pid is not None
        contenders = [("braid", child.pid, ours)]
        if haproxy is None:
            print("bench: haproxy is not installed, and left out", file=sys.stderr)
        else:
            words = [haproxy, "-f", str(haproxy_file(directory, theirs, servers))]
            contenders.append(("haproxy", stack.enter_context(running(words, theirs)), theirs))
        for turn in range(1, chosen.turns + 1):
            for connections in chosen.connections or (20, 200):
                for name, pid, port in contenders:
                    asked = [wrk, "-t1", f"-c{connections}", f"-d{chosen.seconds}s", "-s", str(wrk_file(directory))]
                    asked.append(f"http://127.0.0.1:{port}")
                    results.append(measure(name, turn, pid, asked, connections))
                    print(json.dumps(asdict(results[-1])), flush=True)
    document = {"machine": machine(), "results": [asdict(each) for each in results], "shares": shares(results)}
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document["shares"]), described(machine()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
