"""The demo's overlay with a second DNS node, in network namespaces, and a client that asks both."""

from __future__ import annotations

import socket
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from dnslib import DNSError, DNSRecord

from bench.dns.mutate import query, question
from lab.document import demo
from lab.running import take_down
from lab.up import up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.running import RunningLab

NAME = "dnspair"
SERVERS = {"dns-1": "10.91.1.53", "dns-2": "10.91.1.54"}
CLIENTS = {"edge-fra-1": "client", "edge-nyc-1": "client-2"}
"""Edge -> the client whose nearest one it is."""
SHOP = "shop.apps.example"


class Answer(NamedTuple):
    addresses: tuple[str, ...]
    ttls: frozenset[int]
    rcode: int


def document() -> dict[str, Any]:
    """As a topology file: ``dns-2`` listens beside ``dns-1``, and nobody is limited."""
    made = demo(NAME)
    made["dns"] = {"responses_per_second": 0}
    made["zone"]["records"] = ["*.wild 60 A 192.0.2.1"]
    made["nodes"]["dns-2"] = {
        "region": "dns",
        "underlay": ["10.90.0.42", "fd90::42"],
        "dns_listen": ["10.91.1.54:53", "10.91.2.54:53"],
    }
    networks = made["lab"]["networks"]
    networks["clients-fra"]["members"]["dns-2"] = ["10.91.1.54"]
    networks["clients-nyc"]["members"]["dns-2"] = ["10.91.2.54"]
    return made


def write(file: Path, made: dict[str, Any]) -> None:
    """In one step, so that no node reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(yaml.safe_dump(made, sort_keys=False))
    fresh.replace(file)


@contextmanager
def pair() -> Iterator[RunningLab]:
    """The lab, up and settled; ``lab.file`` is the file that all its nodes follow."""
    take_down(NAME)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{NAME}.yaml"
        write(file, document())
        with up(file) as lab:
            for name in lab.topology.nodes:
                lab.wait_ready(name)
            yield lab


class Asker:
    """One client's socket; asks and waits for the answer."""

    def __init__(self, lab: RunningLab, client: str, timeout: float = 0.2) -> None:
        self._socket = lab.socket(client, socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(timeout)
        self._ident = 0

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, server: str, name: str = SHOP) -> Answer | None:
        """None when no answer comes in time."""
        self._ident = (self._ident + 1) % 65536
        try:
            self._socket.sendto(query(question(name), ident=self._ident), (server, 53))
            while True:
                data, _ = self._socket.recvfrom(2048)
                if int.from_bytes(data[:2], "big") == self._ident:
                    break
            found = DNSRecord.parse(data)
        except (OSError, DNSError):
            return None
        addresses = tuple(str(record.rdata) for record in found.rr)
        return Answer(addresses, frozenset(record.ttl for record in found.rr), found.header.rcode)


def wait_until(what: str, condition: Any, timeout: float = 30.0) -> float:
    """Seconds until it holds. ``TimeoutError`` says what did not."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - began
