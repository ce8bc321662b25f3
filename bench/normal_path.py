"""``python -m bench.normal_path``: proxied connections between fast path, stack and data plane (root).

The lab is that of ``make bench``, one copy over one relay. ``promotion``: requests of new connections to a proxy of
kind http, from the packet at the fast path until it can be read. ``cycles``: connections to a proxy of kind tcp, one
after the other, each promoted for its first request and spliced with the first byte of the answer, so that the second
request and its answer are translated; how many of them a core makes; a witness looks for control packets. ``crowd``:
the same with fifty at a time, as a busy gateway has them. ``again``:
the same of a proxy of kind http whose long answers are spliced, so that the second request is promoted again; a quarter
as many connections. ``kept``: long answers alone, a hundred on each connection, so that nothing counts but the cycles
themselves: a request in the stack, its answer in the data plane. ``living``: the same of answers so short that each can
go along whole, so that what their bytes cost counts less.
``bulk``: one flow that was spliced, beside mode ``nat`` and HAProxy as in ``bench.fast_path``. Results go to
``bench/normal_path.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import cpu, fast_path
from bench.contenders import CLIENT, PLAIN, Contender, forward_plainly
from bench.machine import described, machine
from lab.errors import LabError
from lab.running import take_down
from lab.up import up
from lab.witness import witness
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.running import RunningLab

RESULTS = Path(__file__).with_name("normal_path.json")
NAME = "bench-normal"
PARTS = ("promotion", "cycles", "crowd", "again", "kept", "living", "bulk")
AT_ONCE = 50
PATHS = ("/object/1000", "/object/2000")
LONG = ("/object/400kB", "/object/1000")
KEPT = ("/object/400kB",) * 100
LIVING = ("/object/100kB",) * 100


def document() -> dict[str, Any]:
    given = fast_path.document()
    given["name"] = NAME
    application = given["applications"]["nat"]
    for name, kind, ports, more in (
        ("web", "http", ["tcp/80"], {}),
        ("long", "http", ["tcp/80"], {"splice_above": 65_536}),
        ("plain", "tcp", ["tcp/80", "tcp/7000-7001"], {}),
    ):
        given["applications"][name] = {
            **deepcopy(application),
            "hostnames": [f"{name}.apps.example"],
            "ports": ports,
            "mode": "proxy",
            "proxy": {"kind": kind, "access_log": False, **more},
        }
    return given


@contextmanager
def running(directory: Path) -> Iterator[tuple[RunningLab, int]]:
    """The lab, and HAProxy's process; 0 where it is not installed."""
    file = directory / "net.yaml"
    file.write_text(yaml.safe_dump(document()))
    take_down(NAME)
    with up(file, direct=True) as lab, fast_path.haproxy(lab, directory) as beside:
        forward_plainly(lab)
        for each in lab.status(PLAIN[2])["proxies"]:
            if each["accepted_by"] != "fast-path":
                raise LabError("the stack cannot take connections of the fast path here", "see the gateway's log")
        yield lab, beside


def vip(lab: RunningLab, application: str) -> str:
    return str(vip_for(lab.topology, PLAIN[0], application)[0].address)


def proxy(lab: RunningLab, application: str) -> dict[str, Any]:
    (found,) = [each for each in lab.status(PLAIN[2])["proxies"] if each["application"] == application]
    return dict(found)


def sequential(lab: RunningLab, application: str, count: int, *paths: str, at_once: int = 1) -> dict[str, Any]:
    words = vip(lab, application), "80", str(count), str(at_once)
    argv = [sys.executable, "-m", "bench.sequential", *words, *paths]
    said: dict[str, Any] = json.loads(lab.exec(CLIENT, argv, timeout=60 + count / 20).stdout)
    return said


def promotion(lab: RunningLab, count: int) -> dict[str, Any]:
    said = sequential(lab, "web", count, PATHS[0])
    found = proxy(lab, "web")
    return {"connections": count, "errors": said["errors"], **found["promotion_ms"], "promoted": found["promoted"]}


def cycles(lab: RunningLab, application: str, count: int, paths: Sequence[str], *, at_once: int = 1) -> dict[str, Any]:
    gateway = lab.nodes[PLAIN[2]]
    before, began = proxy(lab, application), cpu.seconds([gateway])
    with witness(lab, CLIENT, vip(lab, application)) as seen:
        said = sequential(lab, application, count, *paths, at_once=at_once)
    used, after = cpu.seconds([gateway]) - began, proxy(lab, application)
    spliced = after["spliced"] - before["spliced"]
    return {
        "connections": count,
        "errors": said["errors"],
        "promoted": after["promoted"] - before["promoted"],
        "spliced": spliced,
        "stayed": after["stayed"],
        "control_packets_in_mid_connection": dict(seen.control),
        "connections_seen": seen.connections,
        "packets_not_seen": seen.missed,
        "gateway_cpu_ms_per_connection": round(used / count * 1000, 3),
        "cycles_per_cpu_second": round(spliced / used) if used else None,
        "connections_per_second": round(count / said["seconds"], 1),
    }


def bulk(lab: RunningLab, haproxy: int, rounds: int) -> dict[str, Any]:
    gateway = lab.nodes[PLAIN[2]]

    def braid(application: str, name: str, *pids: int) -> Contender:
        return Contender(application, name, vip(lab, application), processes={"gateway": (gateway, *pids)})

    each = [braid("nat", "mode nat"), braid("plain", "proxy of kind tcp, spliced")]
    if haproxy:
        each.append(braid("haproxy", "HAProxy behind the overlay", haproxy))
    before = proxy(lab, "plain")
    found = fast_path.measure(lab, each, rounds)
    after = proxy(lab, "plain")
    ratios: dict[str, dict[str, float]] = {}
    for direction in ("down", "up"):
        ours = {name: statistics.median(values) for name, values in found[f"{direction} plain"].items()}
        for other in ("nat", "haproxy"):
            if (line := found.get(f"{direction} {other}")) is not None:
                ratios[f"{direction}, {other}"] = {
                    "throughput": round(ours["gbit_s"] / statistics.median(line["gbit_s"]), 3),
                    "cpu": round(statistics.median(line["cpu_s_per_gb"]) / ours["cpu_s_per_gb"], 3),
                }
    flows = {"flows": 2 * rounds, "spliced": after["spliced"] - before["spliced"], "stayed": after["stayed"]}
    return {"ratios": ratios, "values": found, **flows}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.normal_path", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given several times")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--no-write", action="store_true", help="leave bench/normal_path.json as it is")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["machine"] = described(machine())
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as (lab, haproxy):
        for part in options.only or PARTS:
            if part == "promotion":
                results[part] = promotion(lab, min(options.connections, 1000))
            elif part == "cycles":
                results[part] = cycles(lab, "plain", options.connections, PATHS)
            elif part == "crowd":
                results[part] = cycles(lab, "plain", options.connections, PATHS, at_once=AT_ONCE)
            elif part == "again":
                results[part] = cycles(lab, "long", options.connections // 4, LONG)
            elif part == "kept":
                results[part] = cycles(lab, "long", max(options.connections // 400, 1), KEPT)
            elif part == "living":
                results[part] = cycles(lab, "long", max(options.connections // 400, 1), LIVING)
            else:
                results[part] = bulk(lab, haproxy, options.rounds)
            print(part, json.dumps(results[part], indent=2), flush=True)
    if not options.no_write:
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
