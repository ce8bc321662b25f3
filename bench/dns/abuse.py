"""Abuse: a flood in the name of one prefix, hundreds of slow TCP clients, and what an honest client notices of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from random import Random
from threading import Event, Thread

from bench.dns.load import CLIENT_CPU, braid
from bench.dns.mutate import query, question
from bench.dns.world import ZONE, World

SLOW_CLIENTS = 300
_HONEST = "127.0.1.1"


@dataclass(frozen=True, slots=True)
class Abuse:
    per_second: float
    bytes_ratio: float
    """Bytes out over bytes in, of the flood."""
    whole_per_second: float
    """Answers that were not truncated."""
    p50_ms: float
    p99_ms: float
    """Of the honest client, in another prefix."""
    unanswered: int
    """Of its queries."""
    tcp_ms: float
    """The longest that a new TCP client waited for an answer."""
    memory_mib: float
    late_p99_ms: float


def abuse(world: World, seconds: float, rate: int, limit: int) -> Abuse:
    with braid(world, limit) as server:
        # The server's processor is its own; threads here hand over soon, so that they measure it and not each other.
        os.sched_setaffinity(0, {int(CLIENT_CPU)})
        sys.setswitchinterval(0.0002)
        stop, tcp = Event(), list[float]()
        slow = Thread(target=_slow_clients, args=(server.port, stop))
        slow.start()
        newcomers = Thread(target=_newcomers, args=(server.port, stop, tcp))
        newcomers.start()
        command = ["taskset", "-c", CLIENT_CPU, sys.executable, "-m", "bench.dns.abuse", str(server.port)]
        with subprocess.Popen([*command, str(seconds), str(rate)], stdout=subprocess.PIPE, text=True) as flood:
            waits, unanswered = _honest_client(server.port, seconds)
            told = json.loads(flood.communicate(timeout=60)[0])
        stop.set()
        slow.join()
        newcomers.join()
    waits.sort()
    return Abuse(
        per_second=round(told["sent"] / told["seconds"]),
        bytes_ratio=round(told["bytes_out"] / told["bytes_in"], 3),
        whole_per_second=round(told["whole"] / told["seconds"]),
        p50_ms=round(waits[len(waits) // 2] * 1000, 2),
        p99_ms=round(waits[int(len(waits) * 0.99)] * 1000, 2),
        unanswered=unanswered,
        tcp_ms=round(max(tcp) * 1000, 1),
        memory_mib=server.told["memory_mib"],
        late_p99_ms=server.told["p99_ms"],
    )


def _honest_client(port: int, seconds: float) -> tuple[list[float], int]:
    """100 queries per second; the waiting time of each, and how many got no answer."""
    waits: list[float] = []
    unanswered = 0
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind((_HONEST, 0))
        asker.connect(("127.0.0.1", port))
        asker.settimeout(1)
        while (began := time.monotonic()) < end:
            asker.send(query(question(f"app1.{ZONE}"), b""))
            try:
                asker.recv(4096)
            except TimeoutError:
                unanswered += 1
            waits.append(time.monotonic() - began)
            time.sleep(max(0.0, 0.01 - waits[-1]))
    return waits, unanswered


def _slow_clients(port: int, stop: Event) -> None:
    """Each sends a byte per second, and comes again when it is thrown out."""
    streams: list[socket.socket | None] = [None] * SLOW_CLIENTS
    while not stop.is_set():
        for place, stream in enumerate(streams):
            try:
                if stream is None:
                    streams[place] = stream = socket.create_connection(("127.0.0.1", port), 5)
                stream.send(b"\x00")
            except OSError:
                if stream is not None:
                    stream.close()
                streams[place] = None
            if place % 30 == 29:
                stop.wait(0.1)
    for stream in streams:
        if stream is not None:
            stream.close()


def _newcomers(port: int, stop: Event, waits: list[float]) -> None:
    message = query(question(f"app2.{ZONE}"), b"")
    while not stop.wait(0.2):
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as stream:
                stream.sendall(len(message).to_bytes(2, "big") + message)
                while len(stream.recv(4096)) == 0:
                    raise OSError("closed")
            waits.append(time.monotonic() - began)
        except OSError:
            waits.append(5.0)


def flood(port: int, seconds: float, rate: int) -> dict[str, float]:
    """From many addresses of one /24: ANY, TXT, a long TXT, and names that do not exist."""
    rng = Random(1)
    bodies = [question(f"app{number}.{ZONE}", kind) for number in range(100) for kind in (255, 16)]
    bodies += [question(f"big.{ZONE}", 16), question(ZONE, 255), question(f"{rng.getrandbits(40):x}.{ZONE}", 16)] * 20
    messages = [query(body, b"", ident=rng.randrange(65536)) for body in bodies]
    askers = []
    for host in range(2, 34):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.bind((f"127.0.0.{host}", 0))
        asker.connect(("127.0.0.1", port))
        asker.setblocking(False)
        askers.append(asker)
    told = {"sent": 0, "bytes_in": 0, "bytes_out": 0, "whole": 0}
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(max(0, min(int(passed * rate) - told["sent"], 2000))):
            message = messages[told["sent"] % len(messages)]
            try:
                askers[told["sent"] % len(askers)].send(message)
            except BlockingIOError:
                continue
            told["sent"] += 1
            told["bytes_in"] += len(message)
        for asker in askers:
            _drain(asker, told)
        time.sleep(0.001)
    time.sleep(0.2)
    for asker in askers:
        _drain(asker, told)
        asker.close()
    return told | {"seconds": time.monotonic() - began}


def _drain(asker: socket.socket, told: dict[str, int]) -> None:
    while True:
        try:
            answer = asker.recv(65535)
        except BlockingIOError:
            return
        told["bytes_out"] += len(answer)
        told["whole"] += not answer[2] & 2


if __name__ == "__main__":
    os.nice(5)
    print(json.dumps(flood(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
