"""``make demo``: Braid's main job on real packets, step by step. ``--once`` runs unattended: exit code 0 or 1.

Everything made is removed at the end, at Ctrl-C, at SIGTERM and after a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lab import link, moving, netns
from lab.cast import Cast, Move, cast_of
from lab.errors import LabError
from lab.forward import Forward
from lab.origin import digest
from lab.running import REPOSITORY, RunningLab
from lab.stage import Stage
from lab.up import up
from topology.check import TopologyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

OBJECT = 200_000_000
SLOW = "40M"
"""Bytes per second of the second download: slow enough to be in its middle when the node is killed."""
PACKETS_PER_SECOND = 2000
FLOW_SECONDS = 11.0
RESTART_AFTER = 4.0
STATUS_PORT = 7480
BRAID = Path(sys.executable).with_name("braid")
FLOW_PORT = 9000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="Braid's main job, step by step.")
    parser.add_argument(
        "--once", action="store_true", help="unattended: do not stay up; exit 0 when all passed, else 1"
    )
    parser.add_argument("--file", type=Path, default=Path(__file__).with_name("demo.yaml"))
    options = parser.parse_args(argv)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    stage = Stage()
    try:
        _perform(stage, options.file, stay=not options.once)
    except BrokenPipeError:
        # Nobody reads on, as behind `| head`; at its end Python would still write what it has not written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LabError, TopologyError, OSError, HTTPException, subprocess.SubprocessError) as error:
        stage.judge(False, str(error))
    except KeyboardInterrupt:
        return 130 if options.once else int(stage.failures > 0)
    if options.once:
        print(f"\n{'all passed' if not stage.failures else f'{stage.failures} failed'}", flush=True)
    return int(stage.failures > 0)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # A second Ctrl-C must not leave half a lab behind.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _perform(stage: Stage, file: Path, *, stay: bool) -> None:
    with ExitStack() as stack:
        stage.step(f"The topology of {file.name} in network namespaces")
        lab = up(file, progress=stage.say)
        stack.callback(_remove, stage, lab)
        cast = cast_of(lab.topology)
        _resolve(stage, lab, cast)
        _download(stage, lab, cast)
        if cast.move is not None:
            moving.show(stage, lab, cast.move)
        relay = _kill_in_the_middle(stage, lab, cast)
        stage.step("What happened to each copy, from both ends of each path")
        print(_table(lab), flush=True)
        stage.step("Status page")
        page = stack.enter_context(_open_page(stage, lab, cast))
        if stay:
            print(
                f"""
Everything stays up until Ctrl-C. In another terminal, as root:
  ip netns exec {lab.namespace(cast.client)} curl http://{cast.hostname}/
{_moving_again(lab, cast.move)}  {BRAID} lab impair {lab.name} {cast.edge} {relay} loss=20%
  {BRAID} paths --lab {lab.name}
  {BRAID} flows --lab {lab.name}
  a browser on this machine: http://127.0.0.1:{page.port}/""",
                flush=True,
            )
            while True:
                signal.pause()


def _resolve(stage: Stage, lab: RunningLab, cast: Cast) -> None:
    stage.step(f"{cast.client} asks Braid's DNS for {cast.hostname}")
    answer = lab.exec(cast.client, ["dig", "+short", "+time=2", cast.hostname, f"@{cast.resolver}"]).stdout.split()
    stage.judge(
        answer == [cast.vip],
        f"dig {cast.hostname} @{cast.resolver}: {' '.join(answer) or 'nothing'}, the VIP of {cast.edge}",
    )


def _download(stage: Stage, lab: RunningLab, cast: Cast) -> None:
    stage.step(f"{cast.client} downloads {OBJECT // 1_000_000} MB through the overlay, two copies of each packet")
    _fetch(stage, lab, cast, [])()


def _fetch(stage: Stage, lab: RunningLab, cast: Cast, options: list[str]) -> Callable[[], None]:
    """Starts a download; the function returned reads it to its end and judges it."""
    url = f"http://{cast.hostname}/object/{OBJECT}"
    stage.say(f"curl {' '.join([*options, url])}")
    curl = lab.popen(cast.client, ["curl", "-sS", "--fail", "--max-time", "120", *options, url], stdout=subprocess.PIPE)
    began = time.monotonic()

    def finish() -> None:
        assert curl.stdout is not None
        total, count, shown = hashlib.sha256(), 0, time.monotonic()
        while data := curl.stdout.read(1 << 20):
            total.update(data)
            count += len(data)
            if time.monotonic() - shown >= 1:
                shown = time.monotonic()
                stage.say(f"{count // 1_000_000} of {OBJECT // 1_000_000} MB")
        code = curl.wait()
        seconds = time.monotonic() - began
        same = total.hexdigest() == digest(OBJECT)
        rate = f"{count * 8e-6 / seconds:.0f} Mbit/s"
        stage.judge(
            code == 0 and same,
            f"{count} bytes in {seconds:.1f} s ({rate}), sha256 {'equal' if same else 'differs'}, curl says {code}",
        )

    return finish


def _kill_in_the_middle(stage: Stage, lab: RunningLab, cast: Cast) -> str:
    """The name of the intermediate that died and came back."""
    victim = busiest_relay(lab.status(cast.edge, "/paths"), cast.web_gateway)
    stage.step(
        f"SIGKILL of {victim} in the middle of a download and of {PACKETS_PER_SECOND} numbered packets per second"
    )
    traffic = str(link.tool("braid-traffic", "BRAID_TRAFFIC"))
    address = f"{cast.flow_vip}:{FLOW_PORT}"
    limit = str(FLOW_SECONDS + 5)
    counter = lab.listening(
        cast.flow_target, [traffic, "udp-recv", "--bind", f"0.0.0.0:{FLOW_PORT}", "--seconds", limit]
    )
    sender = lab.popen(
        cast.client,
        [
            traffic,
            "udp-send",
            "--to",
            address,
            "--rate",
            str(PACKETS_PER_SECOND),
            "--seconds",
            str(FLOW_SECONDS),
            "--size",
            "400",
        ],
        stdout=subprocess.PIPE,
    )
    time.sleep(1)
    lost = _lost(lab, cast)
    finish = _fetch(stage, lab, cast, ["--limit-rate", SLOW])
    time.sleep(1.5)
    lab.kill(victim, signal.SIGKILL)
    stage.say(f"{victim} is dead")
    killed = time.monotonic()
    finish()
    time.sleep(max(0.0, RESTART_AFTER - (time.monotonic() - killed)))
    lab.start(victim)
    stage.say(f"{victim} is started again")
    sent = json.loads(sender.communicate()[0])
    seen = json.loads(counter.communicate()[0])
    clean = seen["complete"] and not (seen["lost"] or seen["duplicated"] or seen["damaged"])
    counts = ", ".join(f"{seen[key]} {key}" for key in ("lost", "duplicated", "reordered"))
    stage.judge(clean and seen["received"] == sent["sent"], f"{sent['sent']} packets sent to {address}: {counts}")
    if seen["missing"]:
        stage.say(f"missing: the packets sent at {', '.join(_sent_at(number) for number in seen['missing'])}")
    more = _lost(lab, cast) - lost
    stage.judge(
        more == 0,
        f"{more} packets lost between {cast.edge} and {cast.web_gateway}, by the sequence recovery at both ends",
    )
    seconds = lab.wait_ready(victim)
    stage.say(f"{victim} is ready again" + (f" after {seconds:.1f} s" if seconds > 0.1 else ""))
    return victim


def _sent_at(number: int) -> str:
    return f"{number / PACKETS_PER_SECOND:.4f} s"


def _lost(lab: RunningLab, cast: Cast) -> int:
    return lost_packets(lab.status(cast.edge), cast.web_gateway) + lost_packets(lab.status(cast.web_gateway), cast.edge)


def lost_packets(status: Any, peer: str) -> int:
    """Packets from ``peer`` of which no copy arrived, of a node's /status document."""
    return sum(
        session["recovery"]["lost"]
        for session in status["sessions"]
        if session["peer"] == peer and not session["adjacent"]
    )


def busiest_relay(paths: Any, gateway: str) -> str:
    """The first relay of the path to ``gateway`` in use that most copies were sent on."""
    used = [path for path in paths["paths"] if path["peer"] == gateway and path["in_use"] and path["up"]]
    if len(used) < 2:
        raise LabError(f"{len(used)} of 2 paths to {gateway} are usable", "see the nodes' logs")
    return str(max(used, key=lambda path: path["copies_sent"])["route"][0])


def _table(lab: RunningLab) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "braid", "paths", "--lab", lab.name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=REPOSITORY,
    )
    if done.returncode != 0:
        raise LabError(f"`braid paths --lab {lab.name}` ended with {done.returncode}: {done.stderr}")
    return done.stdout.rstrip()


def _moving_again(lab: RunningLab, move: Move | None) -> str:
    if move is None:
        return ""
    paths = f"{{headers,{move.path.strip('/')}/{moving.OBJECT},headers}}"
    return f"  ip netns exec {lab.namespace(move.client)} curl -sv --limit-rate 2M -o /dev/null 'http://{move.hostname}/{paths}'\n"


def _open_page(stage: Stage, lab: RunningLab, cast: Cast) -> Forward:
    # Every node's page shows all of the overlay; that of a gateway also what has moved.
    node = cast.web_gateway if cast.move is None else cast.move.gateway
    at = lab.topology.nodes[node].status
    code, body = netns.http_get(lab.namespace(node), str(at.host), at.port, "/")
    page = Forward(lab.namespace(node), str(at.host), at.port, STATUS_PORT)
    stage.judge(
        code == 200 and b"<html" in body, f"the page of {node}: http://127.0.0.1:{page.port}/ ({at} in the lab)"
    )
    return page


def _remove(stage: Stage, lab: RunningLab) -> None:
    try:
        stage.say("removing everything")
    finally:
        lab.down()


if __name__ == "__main__":
    sys.exit(main())
