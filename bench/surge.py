"""``python -m bench.surge``: applications with a target loss on real packets, in a lab of five relays (root).

Five intermediate regions between one edge and one gateway, the link emulator on every link of the edge. Each scenario
is a function, so that tests run shorter ones. Results go to ``bench/surge.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.impairment import Impairment
from lab.link import tool
from lab.running import take_down
from lab.up import up
from topology.vips import vip_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lab.running import RunningLab

EDGE, GATEWAY, CLIENT, ORIGIN = "edge-1", "gw-1", "client", "origin"
RELAYS = tuple(f"mid-{number}" for number in range(1, 6))
DELAY = 5.0
"""Milliseconds of every link of the edge, each way."""
RESULTS = Path(__file__).parent / "surge.json"
PORT = 6100
DATA = 4
"""Packets on a link within a look of 20 ms from which on it carries more than probes."""


def document(name: str, relays: int = 5, **redundancy: float) -> dict[str, Any]:
    """A topology: ``shop`` with these keys beside its ``target_loss``."""
    mids = RELAYS[:relays]
    regions: dict[str, Any] = {"edge": {"role": "edge"}, "gw": {"role": "gateway"}}
    regions |= {mid: {"role": "intermediate"} for mid in mids}
    nodes: dict[str, Any] = {
        EDGE: {"region": "edge", "underlay": ["10.90.0.11"], "vip_pools": ["10.91.1.128/26"]},
        GATEWAY: {"region": "gw", "underlay": ["10.90.0.31"], "snat_pools": ["10.93.0.128/30"]},
    }
    nodes |= {f"{mid}-1": {"region": mid, "underlay": [f"10.90.0.{21 + at}"]} for at, mid in enumerate(mids)}
    costs = enumerate(mids, start=10)
    links = [{"between": [end, mid], "cost": cost} for cost, mid in costs for end in ("edge", "gw")]
    return {
        "braid": 1,
        "name": name,
        "zone": {"name": "apps.example"},
        "regions": regions,
        "nodes": nodes,
        "links": links,
        "applications": {
            "shop": {
                "hostnames": ["shop.apps.example"],
                "ports": ["any"],
                "targets": [{"address": "10.93.0.10"}],
                **({"target_loss": 1e-4} | redundancy),
            }
        },
        "lab": {
            "underlay": ["10.90.0.0/24"],
            "networks": {
                "clients": {"prefixes": ["10.91.1.0/24"], "members": {EDGE: ["10.91.1.1"], CLIENT: ["10.91.1.10"]}},
                "servers": {"prefixes": ["10.93.0.0/24"], "members": {GATEWAY: ["10.93.0.1"], ORIGIN: ["10.93.0.10"]}},
            },
            "hosts": {CLIENT: {"kind": "client"}, ORIGIN: {"kind": "origin"}},
        },
    }


@contextmanager
def running(given: dict[str, Any]) -> Iterator[RunningLab]:
    """The lab of a document, with the emulator on every link of its edge."""
    take_down(given["name"])
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{given['name']}.yaml"
        file.write_text(yaml.safe_dump(given, sort_keys=False))
        with up(file) as lab:
            for relay in relays_of(lab):
                lab.impair(EDGE, relay, Impairment(delay_ms=DELAY))
            wait(lambda: len(standing(lab)["using"]) >= 2, 20.0)
            try:
                yield lab
            finally:
                for name in (name for name in lab.topology.nodes if not lab.alive(name)):
                    print(f"{name} has ended; its log ends:\n{lab.log_tail(name)}", file=sys.stderr)


def relays_of(lab: RunningLab) -> list[str]:
    return [name for name in lab.topology.nodes if name.startswith("mid-")]


def standing(lab: RunningLab, node: str = EDGE) -> dict[str, Any]:
    """What a node says of ``shop``."""
    found: list[dict[str, Any]] = lab.status(node)["redundancy"]
    return found[0]


def wait(condition: Callable[[], object], seconds: float) -> float:
    """Seconds until it holds, looked at every 50 ms. ``TimeoutError``."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def traffic(lab: RunningLab, rate: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Datagrams of 200 bytes to ``shop`` and back; the generator's report is there at the end."""
    program, report = str(tool("braid-traffic", "BRAID_TRAFFIC")), {}
    child = lab.listening(ORIGIN, [program, "udp-echo", "--bind", f"[::]:{PORT}"])
    to = f"{vip_for(lab.topology, EDGE, 'shop')[0].address}:{PORT}"
    words = ["--to", to, "--rate", str(rate), "--seconds", str(seconds), "--size", "200", "--echo"]

    def send() -> None:
        done = lab.exec(CLIENT, [program, "udp-send", *words], timeout=seconds + 60)
        report.update(json.loads(done.stdout))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield report
        thread.join()
    finally:
        child.terminate()
        child.communicate(timeout=10)


def sent_on(lab: RunningLab, relay: str) -> int:
    """Frames from the edge to a relay so far."""
    there = lab.counters(EDGE, relay)["a-to-b"]
    return int(there["received"])


def carries_data(lab: RunningLab, relay: str, seconds: float) -> float:
    """Seconds until more than probes go to a relay. ``TimeoutError``."""
    began, before = time.monotonic(), sent_on(lab, relay)
    while time.monotonic() - began < seconds:
        time.sleep(0.02)
        now = sent_on(lab, relay)
        if now - before > DATA:
            return time.monotonic() - began
        before = now
    raise TimeoutError(f"no data to {relay} within {seconds:g} s")


def in_use(lab: RunningLab) -> list[str]:
    return list(standing(lab)["using"])


def set_loss(lab: RunningLab, relays: Sequence[str], loss: float, seed: int = 1) -> None:
    for at, relay in enumerate(relays):
        lab.impair(EDGE, relay, Impairment(delay_ms=DELAY, loss=loss, seed=seed + at), direction="a-to-b")


def trouble_on_three(
    lab: RunningLab, rate: int = 1000, quiet: float = 10.0, bad: float = 3.0, *, back: bool = True
) -> dict[str, float]:
    """50 % loss on three of five paths, both used ones among them: seconds until a further path carries data (idle:
    until the node says so), then trouble on all: seconds from its end until there are two copies again (``back``)."""
    relays = relays_of(lab)
    with traffic(lab, rate, quiet + bad + (20.0 if back else 2.0)) if rate else nullcontext():
        time.sleep(quiet)
        used = in_use(lab)
        hit = [*used, *(relay for relay in relays if relay not in used)][:3]
        spare = next(relay for relay in relays if relay not in hit)
        took: list[float] = []

        def look() -> None:
            began = time.monotonic()
            if rate:
                took.append(carries_data(lab, spare, 10.0))
            else:
                wait(lambda: standing(lab)["mode"] == "surge", 10.0)
                took.append(time.monotonic() - began)

        watcher = threading.Thread(target=look)
        watcher.start()
        time.sleep(0.1)
        lost_from = time.monotonic()
        set_loss(lab, hit, 0.5)
        watcher.join()
        reaction = took[0] - 0.1
        most = len(in_use(lab))
        set_loss(lab, relays, 0.4, seed=50)
        time.sleep(bad)
        set_loss(lab, relays, 0.0)
        ended = time.monotonic()
        returned = wait(lambda: len(in_use(lab)) == 2, 30.0) if back else 0.0
    return {"surge_s": reaction, "paths": most, "back_s": returned, "trouble_s": ended - lost_from}


def common_loss(lab: RunningLab, seconds: float = 60.0, rate: int = 1000) -> dict[str, Any]:
    """Both paths lose 1 %, 60 % of it in the same moments: the verdicts seen each second, and when NOT DIVERSE came."""
    for at, relay in enumerate(relays_of(lab)):
        both = Impairment(delay_ms=DELAY, loss=0.004, seed=7 + at, joint_seed=5, joint_loss=0.006, joint_slot_ms=2)
        lab.impair(EDGE, relay, both, direction="a-to-b")
    seen: list[str] = []
    with traffic(lab, rate, seconds):
        for _ in range(round(seconds)):
            time.sleep(1.0)
            seen.append(standing(lab)["verdict"])
        text = standing(lab)["text"]
    first = seen.index("NOT DIVERSE") + 1.0 if "NOT DIVERSE" in seen else None
    return {"not_diverse_s": first, "met_s": seen.count("MET"), "text": text}


def on_and_off(lab: RunningLab, seconds: float = 300.0, rate: int = 1000) -> dict[str, Any]:
    """30 % loss on all paths, 3 s on and 3 s off: surges, and changes of the set per minute after 30 s."""
    relays = relays_of(lab)
    before = standing(lab)
    after_30: dict[str, Any] = {}
    with traffic(lab, rate, seconds + 1):
        began = time.monotonic()
        bad = False
        while time.monotonic() - began < seconds:
            bad = not bad
            set_loss(lab, relays, 0.3 if bad else 0.0)
            time.sleep(3.0)
            if not after_30 and time.monotonic() - began >= 30.0:
                after_30 = standing(lab)
        set_loss(lab, relays, 0.0)
        end = standing(lab)
    minutes = (seconds - 30.0) / 60
    return {
        "seconds": seconds,
        "surges": end["surges"] - before["surges"],
        "changes_per_minute": (end["changes"] - (after_30 or end)["changes"]) / minutes,
        "lost": end["lost"] - before["lost"],
        "settled": end["settled"] - before["settled"],
    }


def shared_risk(lab: RunningLab, rate: int = 1000) -> dict[str, Any]:
    """The two paths in use lose 1 %, 60 % of it together, others on their own: seconds until those two are not used
    together any more, and what the node says before and after."""
    relays, used = relays_of(lab), in_use(lab)
    for at, relay in enumerate(relays):
        alone = Impairment(delay_ms=DELAY, loss=0.01, seed=7 + at)
        together = replace(alone, loss=0.004, joint_seed=5, joint_loss=0.006, joint_slot_ms=2)
        lab.impair(EDGE, relay, together if relay in used else alone, direction="a-to-b")
    with traffic(lab, rate, 45.0):
        texts: list[str] = []

        def left() -> bool:
            seen = standing(lab)
            if seen["verdict"] not in {text.split(" (")[0] for text in texts}:
                texts.append(seen["text"])
            return not set(used) <= set(seen["using"])

        took = wait(left, 42.0)
        time.sleep(2.0)
        seen = standing(lab)
    return {"left_s": took, "used": used, "using": seen["using"], "texts": texts, "text": seen["text"]}


def apart(rate: int = 1000, seconds: float = 30.0, spread: float = 20.0) -> dict[str, Any]:
    """Two paths that lose 2 % in the same moments of 10 ms and 1 % on their own: packets lost altogether, with both
    copies at the same time and with the second one ``spread`` milliseconds later."""
    lost: dict[str, Any] = {"spread_ms": spread}
    for name, policy in (("at_once", {}), ("apart", {"spread": spread})):
        with running(document("surge-apart", relays=2, max_copies=2, **policy)) as lab:
            for at, relay in enumerate(relays_of(lab)):
                both = Impairment(
                    delay_ms=DELAY, loss=0.01, seed=7 + at, joint_seed=5, joint_loss=0.02, joint_slot_ms=10
                )
                lab.impair(EDGE, relay, both, direction="a-to-b")
            with traffic(lab, rate, seconds) as report:
                pass
            lost["packets"] = report["echo"]["sent"]
            lost[name] = report["echo"]["lost"]
            lost[f"{name}_duplicated"] = report["echo"]["duplicated"]
    return lost


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.surge", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=["three", "idle", "common", "on-off", "shared", "apart"])
    parser.add_argument("--seconds", type=float, default=300.0, help="of on-off")
    parser.add_argument("--no-write", action="store_true", help="leave bench/surge.json as it is")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    scenarios: dict[str, tuple[dict[str, Any], Callable[[RunningLab], dict[str, Any]]]] = {
        "three": (document("surge-three"), trouble_on_three),
        "idle": (document("surge-idle"), lambda lab: trouble_on_three(lab, rate=0)),
        "common": (document("surge-common", relays=2), common_loss),
        "on-off": (document("surge-onoff", relays=4), lambda lab: on_and_off(lab, options.seconds)),
        "shared": (document("surge-shared", target_loss=1e-3), shared_risk),
    }
    for name in options.scenarios:
        if name == "apart":
            results[name] = apart()
        else:
            given, scenario = scenarios[name]
            with running(given) as lab:
                results[name] = scenario(lab)
        print(name, json.dumps(results[name]), flush=True)
        if not options.no_write:
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
