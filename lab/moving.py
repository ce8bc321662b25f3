"""A step of the demo: one connection of a client, which a content proxy has for its second request alone."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import LabError
from lab.origin import digest
from lab.witness import witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lab.cast import Move
    from lab.running import RunningLab
    from lab.stage import Stage

OBJECT = 20_000_000
RATE = "40M"
"""Bytes per second: slow enough to ask the gateway about the connection in the middle of it."""
STORED_WITHIN = 10.0
SHOWN_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What curl says of one request."""

    status: int
    connected: bool
    """For this request; else it went over the connection of the one before."""
    seconds: float
    """Until the first byte."""
    cache: str
    """Cache-Status; empty: from the origin."""


def show(stage: Stage, lab: RunningLab, move: Move) -> None:
    """LabError when curl, or a node, does not answer."""
    stage.step(f"An open connection of {move.client} moves to {move.proxy} for what that has stored, and comes back")
    paths = ("/", f"{move.path}{OBJECT}", "/")
    urls = [f"http://{move.hostname}{path}" for path in paths]
    _have_stored(stage, lab, move, urls[1])
    before = _counts(lab, move, lambda counts: counts.moved > 0)
    stage.say(f"curl {' '.join(urls)}")
    with tempfile.TemporaryDirectory() as place, witness(lab, move.client, move.vip) as seen:
        files = [Path(place, str(number)) for number, _ in enumerate(urls)]
        options = ["--limit-rate", RATE]
        curl = lab.popen(move.client, command(urls, files, options), stdout=subprocess.PIPE, text=True)
        said = _said(lab, move, curl)
        answers = answers_of(curl.communicate(timeout=60)[0])
        if curl.returncode or len(answers) != len(urls):
            raise LabError(f"curl ended with {curl.returncode} after {len(answers)} of {len(urls)} answers")
        origins = [file.read_text().strip() for file in (files[0], files[2])]
        with files[1].open("rb") as file:
            same = file_digest(file, "sha256").hexdigest() == digest(OBJECT)
    for path, answer, origin in zip(paths, answers, (origins[0], "", origins[1]), strict=True):
        connection = "new connection " if answer.connected else "same connection"
        stage.say(f"  {path:<17}  {connection}  {answer.seconds * 1e3:5.1f} ms  {answer.cache or origin}")
    stage.judge(
        same and moved(answers, move.proxy),
        f"answered by an origin, {move.proxy} and an origin over one connection,"
        f" {OBJECT} bytes with sha256 {'equal' if same else 'that differs'}",
    )
    control = ", ".join(f"{seen.control[flag]} {flag}" for flag in ("SYN", "FIN", "RST"))
    stage.judge(
        not seen.control and not seen.missed and seen.connections == 1,
        f"{move.client} saw {seen.connections} connection begin, and in the middle of it {control}",
    )
    after = _counts(lab, move, lambda counts: counts.returned > before.returned and counts.sent - before.sent >= OBJECT)
    gone, back, sent = after.moved - before.moved, after.returned - before.returned, after.sent - before.sent
    stage.judge(
        (gone, back) == (1, 1) and sent >= OBJECT,
        f"{move.gateway} counts {gone} moved, {back} returned; {move.proxy} sent {sent} bytes",
    )
    stage.say("what the nodes said about it, in ms since the second request (docs/transfer.md explains it):")
    for moment, source, destination, message in said:
        stage.say(f"  {moment:6.2f}  {source} > {destination}  {message}")


def command(urls: Sequence[str], files: Sequence[Path], options: Sequence[str] = ()) -> list[str]:
    """curl, which gets them one after the other and prints head and figures of each answer."""
    words = ["curl", "-4", "-sS", "--fail", "--max-time", "30", *options, "-D", "-", "-w", "%{json}\\n"]
    for url, file in zip(urls, files, strict=True):
        words += ["-o", str(file), url]
    return words


def answers_of(printed: str) -> list[Answer]:
    """What ``command`` has printed."""
    found, cache = [], ""
    for line in printed.splitlines():
        name, _, value = line.partition(":")
        if line.startswith("{"):
            figures = json.loads(line)
            found.append(
                Answer(figures["response_code"], figures["num_connects"] > 0, figures["time_starttransfer"], cache)
            )
            cache = ""
        elif name.lower() == "cache-status":
            cache = value.strip()
    return found


def moved(answers: list[Answer], proxy: str) -> bool:
    """All over one connection, the second alone by the proxy, from its store."""
    return (
        [answer.connected for answer in answers] == [True, False, False]
        and all(answer.status == 200 for answer in answers)
        and answers[1].cache.startswith(f"{proxy}; hit")
        and not answers[0].cache
        and not answers[2].cache
    )


def _have_stored(stage: Stage, lab: RunningLab, move: Move, url: str) -> None:
    """As a first client does: what it gets from the origin may be stored, so the proxy fetches it for others."""
    options: list[str] = []
    began = time.monotonic()

    def cache() -> str:
        words = command([url], [Path(os.devnull)], options)
        return answers_of(lab.exec(move.client, words, timeout=60).stdout)[0].cache

    while not (found := cache()):
        if not options:
            stage.say(f"curl {url}: from the origin, and {move.proxy} fetches it for those who ask next")
            options = ["--head"]
        if time.monotonic() - began > STORED_WITHIN:
            raise LabError(f"{move.proxy} has not stored {url} within {STORED_WITHIN:g} s", "see its log")
        time.sleep(0.1)
    stage.say(f"{time.monotonic() - began:.1f} s later {move.gateway} knows that {move.proxy} has it: {found}")


def _said(lab: RunningLab, move: Move, curl: subprocess.Popen[Any]) -> list[tuple[float, str, str, str]]:
    """What the nodes said of the connection, asked while the proxy has it: moment, from, to, message."""
    while curl.poll() is None:
        for flow in lab.status(move.gateway, "/flows")["flows"]:
            steps = flow["records"]["steps"] if flow["mode"] == "transferred" and flow["state"] == "moved" else ()
            if steps and steps[-1][-1] == "TERMINATED":
                names = {"gateway": move.gateway}
                return [(moment, names.get(a, a), names.get(b, b), message) for moment, a, b, message in steps]
        time.sleep(0.02)
    return []


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of connections, by the gateway, and bytes that the proxy sent on those that it had."""

    moved: int
    returned: int
    sent: int


def _counts(lab: RunningLab, move: Move, complete: Callable[[_Counts], bool]) -> _Counts:
    """Those that nodes show once they are complete: they look at themselves every second."""
    deadline = time.monotonic() + SHOWN_WITHIN
    while True:
        gateway, proxy = lab.status(move.gateway)["transfers"], lab.status(move.proxy)["transfers"]
        found = _Counts(gateway["moved"], gateway["returned"], proxy["bytes"])
        if complete(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
