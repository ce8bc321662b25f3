"""Throughput on loopback: dnsperf on one processor, the server on another, Braid and NSD in turn in one run."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from bench import cpu
from bench.dns.mutate import query, question, subnet
from bench.dns.world import ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.dns.world import World

SERVER_CPU, CLIENT_CPU = "0", "1"


class Unavailable(Exception):
    """A program or a processor is missing; the message says which."""


@dataclass(frozen=True, slots=True)
class Load:
    server: str
    per_second: float
    lost: int
    mean_us: float
    cpu_us: float
    """Processor time of the server for one query; that of the machine's other work is not in it."""


@dataclass(slots=True)
class Server:
    port: int
    pid: int
    feed: int | None = None
    """Where it answers an operator's PowerDNS."""
    told: dict[str, float] = field(default_factory=dict)
    """What Braid's server says when it has ended."""


def required(program: str, package: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")
    if found is None:
        raise Unavailable(f"{program} is not installed: apt-get install {package}")
    return found


def measure(
    name: str, server: Server, questions: Path, seconds: float, rate: int | None, transport: str = "udp"
) -> Load:
    command = ["taskset", "-c", CLIENT_CPU, required("dnsperf", "dnsperf"), "-s", "127.0.0.1", "-p", str(server.port)]
    command += ["-d", str(questions), "-B", "-l", str(seconds), "-c", "8", "-T", "1", "-q", "200", "-m", transport]
    if rate is not None:
        command += ["-Q", str(rate)]
    family = _family(server.pid)
    before = cpu.seconds(family)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    used = cpu.seconds(family) - before
    completed = int(_number(r"Queries completed: +(\d+)", done.stdout))
    return Load(
        name,
        per_second=_number(r"Queries per second: +([\d.]+)", done.stdout),
        lost=int(_number(r"Queries lost: +(\d+)", done.stdout)),
        mean_us=_number(r"Average Latency \(s\): +([\d.]+)", done.stdout) * 1e6,
        cpu_us=used / max(completed, 1) * 1e6,
    )


def _family(pid: int) -> list[int]:
    """The process and all that descend from it: nsd answers in a grandchild."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def write_questions(file: Path, world: World) -> None:
    """20,000 queries as resolvers send them: the letters' case at random (0x20), EDNS with a client's prefix; names and
    prefixes are drawn independently of each other."""
    rng, prefixes = Random(world.seed), world.client_prefixes
    with file.open("wb") as out:
        for _ in range(20_000):
            name = "".join(letter.upper() if rng.random() < 0.5 else letter for letter in rng.choice(world.hostnames))
            data = query(question(name), subnet(rng.choice(prefixes)))
            out.write(len(data).to_bytes(2, "big") + data)


@contextmanager
def braid(world: World, limit: int = 0, *, feed: bool = False) -> Iterator[Server]:
    """``limit``: answers per second and prefix, 0 for all. ``feed``: PowerDNS may ask too."""
    port, feed_port = free_port(), free_port() if feed else 0
    numbers = (port, world.names, world.edges, world.prefixes, world.seed, limit, feed_port)
    command = [sys.executable, "-m", "bench.dns.server", *(str(number) for number in numbers)]
    with running(command, port, world) as server:
        server.feed = feed_port or None
        yield server


@contextmanager
def nsd(world: World) -> Iterator[Server]:
    """The same names with one address each; NSD does not steer."""
    port = free_port()
    program = required("nsd", "nsd")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        records = "".join(f"app{number} 30 A 10.0.0.1\n" for number in range(world.names))
        (folder / "zone").write_text(
            f"$ORIGIN {ZONE}.\n@ 3600 SOA ns1 hostmaster 1 3600 600 604800 30\n@ NS ns1\nns1 A 192.0.2.53\n{records}"
        )
        (folder / "conf").write_text(
            f'server:\n server-count: 1\n ip-address: 127.0.0.1\n port: {port}\n username: ""\n chroot: ""\n'
            f' database: ""\n zonesdir: {folder}\n pidfile: {folder}/pid\n xfrdfile: {folder}/xfrd\n'
            f" zonelistfile: {folder}/list\n xfrdir: {folder}\n rrl-ratelimit: 0\n minimal-responses: yes\n"
            f"remote-control:\n control-enable: no\nzone:\n name: {ZONE}\n zonefile: {folder}/zone\n"
        )
        with running([program, "-d", "-c", str(folder / "conf")], port, world) as server:
            yield server


@contextmanager
def running(command: list[str], port: int, world: World, processor: str = SERVER_CPU) -> Iterator[Server]:
    """A name server on a processor of its own, from its first answer on."""
    pinned = ["taskset", "-c", processor, *command]
    with subprocess.Popen(pinned, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        server = Server(port, process.pid)
        try:
            _wait(port, world, process)
            yield server
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=30)
            if said.startswith("{"):
                server.told.update(json.loads(said))


def _wait(port: int, world: World, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    asked = query(question(world.hostnames[-1]))
    while time.monotonic() < end and process.poll() is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.2)
            try:
                asker.connect(("127.0.0.1", port))
                asker.send(asked)
                asker.recv(4096)
            except OSError:
                time.sleep(0.1)
            else:
                return
    raise Unavailable(f"{process.args!r} does not answer")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise Unavailable(f"dnsperf says nothing that reads {pattern}: {text[-300:]}")
    return float(found[1])
