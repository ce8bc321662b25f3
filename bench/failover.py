"""``python -m bench.failover`` (root): what becomes of connections when a whole gateway region dies.

The demo's topology. All nodes of the preferred gateway region are killed; meanwhile a client that has a connection
opens others, and clients that were never seen open their first, every 10 ms. A connection counts as good when its first
SYN was answered within ``ANSWERED``. Results go to ``bench/failover.json``.
"""

from __future__ import annotations

import argparse
import errno
import json
import select
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lab.document import demo
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).parent / "failover.json"
EDGE, CLIENT, REGION, APPLICATION = "edge-fra-1", "client", "gw-sto", "shop"
CLIENT_ADDRESS = "10.91.1.10"
MANY = "10.99.0.0/16"
"""Addresses behind the client, for clients that were never seen."""
EVERY = 0.01
ANSWERED = 0.25
"""Less than TCP's first retransmission, which comes after a second."""
LASTS = 4.0
"""Seconds for which connections are opened."""
LEAST = 10_000_000
"""Bytes that a download has when it is cut off."""
ASK = b"GET /object/10GB HTTP/1.1\r\nHost: shop.apps.example\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Kill:
    """Seconds from the kill until each was so; of new connections: from when on all that began were good."""

    same_client: float
    new_clients: float
    download_reset: float
    idle_reset: float


class Receiver:
    """A client that says this and then only receives, as fast as it can, until its connection ends."""

    def __init__(self, connection: socket.socket, says: bytes) -> None:
        self.received, self.ended, self.how = 0, 0.0, "silent"
        self._connection = connection
        connection.settimeout(20)
        connection.sendall(says)
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        try:
            while data := self._connection.recv(1 << 20):
                self.received += len(data)
            self.how = "closed"
        except OSError as error:
            self.how = errno.errorcode[error.errno] if error.errno else "silent"
        self.ended = time.monotonic()

    def wait(self) -> None:
        self._thread.join()
        self._connection.close()


class Openers:
    """Sockets that connect one after the other, each from an address of its own or all from the same."""

    def __init__(self, lab: RunningLab, sources: Sequence[str]) -> None:
        self._to = (vip(lab), 80)
        self._waiting = [_bound(lab, source) for source in sources]
        self._waiting.reverse()
        self._open: dict[int, tuple[float, socket.socket]] = {}
        self._poll = select.poll()
        self._took: dict[float, float] = {}
        """By when each began."""

    def begin(self) -> None:
        if self._waiting:
            each = self._waiting.pop()
            began = time.monotonic()
            each.connect_ex(self._to)
            self._open[each.fileno()] = (began, each)
            self._took[began] = LASTS
            self._poll.register(each, select.POLLOUT)

    def look(self) -> None:
        for number, _ in self._poll.poll(0):
            began, each = self._open.pop(number)
            self._poll.unregister(number)
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                self._took[began] = time.monotonic() - began
            each.close()

    def good_from(self) -> float:
        """When the first began of those that are all good; infinite if the last one was not."""
        bad = max((began for began, took in self._took.items() if took > ANSWERED), default=0.0)
        return min((began for began in self._took if began > bad), default=inf)

    def close(self) -> None:
        for each in (*self._waiting, *(each for _, each in self._open.values())):
            each.close()


def vip(lab: RunningLab, application: str = APPLICATION) -> str:
    return next(str(each.address) for each in vip_for(lab.topology, EDGE, application) if each.address.version == 4)


def _bound(lab: RunningLab, source: str) -> socket.socket:
    each = lab.socket(CLIENT)
    each.setblocking(False)
    each.bind((source, 0))
    return each


def make_many(lab: RunningLab) -> None:
    """Gives the client all addresses of ``MANY``."""
    lab.exec(CLIENT, ["ip", "route", "replace", "local", MANY, "dev", "lo"])
    lab.exec(EDGE, ["ip", "route", "replace", MANY, "via", CLIENT_ADDRESS])


def connected(lab: RunningLab, application: str = APPLICATION, source: str = CLIENT_ADDRESS) -> socket.socket:
    connection = lab.socket(CLIENT)
    connection.settimeout(5)
    connection.bind((source, 0))
    connection.connect((vip(lab, application), 80))
    return connection


def kill_region(lab: RunningLab, run: int) -> Kill:
    """One kill; the region is dead afterwards. ``make_many`` first; each ``run`` once."""
    own = f"10.99.{run}.1"
    count = round((LASTS - ANSWERED) / EVERY)
    with ExitStack() as stack:
        same = Openers(lab, [own] * count)
        new = Openers(lab, [f"10.99.{100 + 2 * run + at // 250}.{1 + at % 250}" for at in range(count)])
        stack.callback(same.close)
        stack.callback(new.close)
        receivers = [Receiver(connected(lab, source=own), says) for says in (ASK, b"")]
        # The kill comes at any time between two probes.
        time.sleep(1.0 + 0.037 * run)
        killed = time.monotonic()
        for node in lab.topology.nodes_of(REGION):
            lab.kill(node.name)
        next_at = killed
        while (now := time.monotonic()) < killed + LASTS:
            if now >= next_at:
                next_at += EVERY
                same.begin()
                new.begin()
            same.look()
            new.look()
            time.sleep(0.001)
        for each in receivers:
            each.wait()
    silent = [each.how for each in receivers if each.how != "ECONNRESET"]
    if receivers[0].received < LEAST:
        raise RuntimeError(f"the download had only {receivers[0].received} bytes")
    if silent:
        raise RuntimeError(f"connections ended otherwise than by a reset: {silent}")
    times = [same.good_from(), new.good_from(), *(each.ended for each in receivers)]
    return Kill(*(round(each - killed, 3) for each in times))


def revive(lab: RunningLab) -> None:
    """The region is back, and preferred again."""
    nodes = [node.name for node in lab.topology.nodes_of(REGION)]
    for name in nodes:
        lab.start(name)
    for name in nodes:
        lab.wait_ready(name)
    began = time.monotonic()
    while not any(_protected(each, nodes) for each in lab.status(EDGE)["applications"]):
        if time.monotonic() - began > 20:
            raise TimeoutError(f"{REGION} is not in use after 20 s")
        time.sleep(0.1)


def _protected(application: dict[str, object], nodes: Sequence[str]) -> bool:
    usable = application["copies_usable"] == application["copies_wanted"]
    return application["name"] == APPLICATION and application["gateway"] in nodes and usable


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=15)
    parser.add_argument("--no-write", action="store_true", help="leave bench/failover.json as it is")
    options = parser.parse_args(arguments)
    document = demo("failover")
    take_down("failover")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "failover.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        with up(file) as lab:
            make_many(lab)
            kills = []
            for run in range(options.kills):
                time.sleep(2.0)
                kills.append(kill_region(lab, run))
                print(kills[-1], flush=True)
                if run + 1 < options.kills:
                    revive(lab)
    found = {}
    for name in Kill.__slots__:
        values = [getattr(kill, name) for kill in kills]
        found[name] = {"median_s": round(statistics.median(values), 3), "worst_s": max(values), "kills": len(values)}
        print(name, found[name])
    if not options.no_write:
        RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
