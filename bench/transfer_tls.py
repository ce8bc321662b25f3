"""``python -m bench.transfer_tls``: what clients of TLS wait whose name is delegated, refused, or not offered (root).

The topology of ``bench.transfer`` with an application of ``kind: tls-sni``. Each sample is a new connection of TLS 1.3:
from its ClientHello sent to the handshake's end, and from a request sent to the first byte of its answer. Names that
are refused are new each time. Results go to ``bench/transfer_tls.json``.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.machine import described, machine
from bench.transfer import EDGE, GATEWAY, NODE
from bench.transfer import document as plain
from lab import tls_origin
from lab.netns import socket_in
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("transfer_tls.json")
NAME = "benchtransfertls"
DELEGATED, OTHER = "cdn.apps.example", "www.apps.example"
REFUSED = "n{number}.no.apps.example"
"""A row offers it, and the proxy has no certificate for it."""
PATH = "/cached/object"


def document(directory: Path) -> dict[str, Any]:
    found = plain(directory)
    found["name"] = NAME
    found["applications"] = {
        "secure": {
            "hostnames": [DELEGATED, OTHER],
            # A range: the lab's own origins leave it alone.
            "ports": ["tcp/443-444"],
            "targets": [{"address": "10.93.0.10"}],
            "gateways": ["gw-mil"],
            "mode": "proxy",
            "proxy": {"kind": "tls-sni"},
        }
    }
    content = found["nodes"][NODE]["content"]
    content |= {"applications": ["secure"], "origin_ca": "origin.pem"}
    content["tls"] = {"certificates": [{"certificate": "own.pem", "key": "own.key"}], "alpn": ["http/1.1"]}
    found["transfers"] = [{"application": "secure", "proxies": [NODE], "sni": [DELEGATED, "*.no.apps.example"]}]
    return found


def certificate(directory: Path, file: str, *names: str) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={','.join(f'DNS:{name}' for name in names)}"]
    words += ["-keyout", str(directory / f"{file}.key"), "-out", str(directory / f"{file}.pem")]
    subprocess.run(words, check=True, capture_output=True)


def connection(lab: RunningLab, name: str) -> tuple[float, float, bool]:
    """Milliseconds of the handshake and of a request, and whether the proxy answered it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    vip = str(vip_for(lab.topology, EDGE, "secure")[0].address)
    with socket_in(lab.plan.members["client"].namespace) as opened:
        opened.settimeout(10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.connect((vip, 443))
        time.sleep(0.02)
        with context.wrap_socket(opened, server_hostname=name, do_handshake_on_connect=False) as tls:
            began = time.perf_counter()
            tls.do_handshake()
            shaken = time.perf_counter()
            tls.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            data = tls.recv(65_536)
            answered = time.perf_counter()
            while b"\r\n\r\n" not in data:
                data += tls.recv(65_536)
            # All of it, so that no proxy is left with bytes that nobody takes.
            while tls.recv(65_536):
                pass
    return (shaken - began) * 1000, (answered - shaken) * 1000, f"cache-status: {NODE}".encode() in data.lower()


def series(samples: list[tuple[float, float, bool]]) -> dict[str, Any]:
    def told(times: list[float]) -> dict[str, float]:
        times = sorted(times)
        p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
        return {
            "median_ms": round(statistics.median(times), 2),
            "p99_ms": round(p99, 2),
            "most_ms": round(times[-1], 2),
        }

    return {
        "samples": len(samples),
        "by_proxy": sum(moved for _, _, moved in samples),
        "handshake": told([each for each, _, _ in samples]),
        "first_byte": told([each for _, each, _ in samples]),
    }


def measure(lab: RunningLab, count: int) -> dict[str, Any]:
    lab.wait_ready(NODE)
    deadline = time.monotonic() + 20
    while not (connection(lab, DELEGATED)[2] and lab.status(NODE)["content"]["answers"]):
        if time.monotonic() > deadline:
            raise TimeoutError("the proxy takes no connection")
        time.sleep(0.1)
    turns: dict[str, list[tuple[float, float, bool]]] = {"origin": [], "refused": [], "delegated": []}
    for turn in range(count):
        for kind, name in (("origin", OTHER), ("refused", REFUSED.format(number=turn)), ("delegated", DELEGATED)):
            turns[kind].append(connection(lab, name))
    found: dict[str, Any] = {kind: series(samples) for kind, samples in turns.items()}
    origin = found["origin"]["handshake"]["median_ms"]
    for kind in ("refused", "delegated"):
        found[kind]["handshake"]["more_than_origin_ms"] = round(found[kind]["handshake"]["median_ms"] - origin, 2)
    found["gateway"] = lab.status(GATEWAY)["transfers"]
    return found


def main() -> None:
    options = argparse.ArgumentParser(prog="bench.transfer_tls")
    options.add_argument("--count", type=int, default=100, help="connections of each kind")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        file = directory / "lab.yaml"
        file.write_text(yaml.safe_dump(document(directory), sort_keys=False))
        certificate(directory, "own", DELEGATED)
        certificate(directory, "origin", DELEGATED, OTHER)
        with suppress(OSError):
            take_down(NAME)
        with up(file) as lab:
            files = [str(directory / name) for name in ("origin.pem", "origin.key", "origin.log")]
            lab.listening("origin-1", [sys.executable, tls_origin.__file__, *files])
            results = measure(lab, chosen.count)
    for name, result in results.items():
        print(name, json.dumps(result))
    RESULTS.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n")
    print(described(machine()))


if __name__ == "__main__":
    main()
