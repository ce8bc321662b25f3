"""What nodes say when something breaks: any node about the whole overlay, with the cause, soon."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from lab.impairment import Impairment
from tests.netns import labs

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.running import RunningLab

pytestmark = pytest.mark.netns

EDGE, GATEWAY = "edge-fra-1", "gw-sto-1"
PATIENCE = 30.0
"""Seconds; what is usual is shown as a figure."""


def wait(what: str, condition: Callable[[], bool]) -> float:
    """Seconds until a condition is true."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE:
            pytest.fail(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


def link(lab: RunningLab, asked: str, a: str, b: str) -> dict[str, Any]:
    seen = lab.status(asked, "/overlay")
    found: list[dict[str, Any]] = [each for each in seen["links"] if {each["a"], each["b"]} == {a, b}]
    return found[0] if found else {"state": "not known"}


def said(lab: RunningLab, node: str, since: float) -> list[str]:
    """The changes since then (Unix time) that a node tells, newest first, each with its cause."""
    changes = lab.status(node, "/paths")["changes"]
    return [f"{change['text']}: {change['cause']}" for change in changes if change["at"] >= since]


def whole(lab: RunningLab, asked: str) -> bool:
    seen = lab.status(asked, "/overlay")
    nodes = all(node["ready"] and not node["stale"] for node in seen["nodes"])
    return nodes and all(each["state"] == "up" for each in seen["links"]) and len(seen["links"]) == 14


def test_any_node_shows_the_whole_overlay(lab: RunningLab) -> None:
    for name in lab.topology.nodes:
        wait(f"{name} knows all", lambda name=name: whole(lab, name))
        states = {(each["edge"], each["application"]) for each in lab.status(name, "/overlay")["choices"]}
        edges = sum(node.role.value == "edge" for node in lab.topology.nodes.values())
        assert len(states) == edges * len(lab.topology.applications)


def test_a_cut_behind_the_first_hop_is_named_by_the_sender(
    lab: RunningLab, figure: Callable[[str, object], None]
) -> None:
    relay = labs.pair(lab, EDGE, GATEWAY)[0]
    began = time.time()
    lab.impair(relay, GATEWAY, Impairment(blackhole=True))
    mark = f"path to {GATEWAY} via {lab.topology.nodes[relay].region} is silent"
    took = wait(mark, lambda: any(text.startswith(mark) for text in said(lab, EDGE, began)))
    cause = next(text for text in said(lab, EDGE, began) if text.startswith(mark))
    assert f"{GATEWAY} hears nothing on this path" in cause or "one-way block" in cause
    elsewhere = wait("dns-1 shows it", lambda: link(lab, "dns-1", relay, GATEWAY)["state"] == "down")
    figure(
        "a cut far from the edge named in its /paths after",
        f"{took:.1f} s; shown by a DNS node {elsewhere:.1f} s later",
    )


def test_a_block_in_one_direction_is_told_from_a_cut(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    relay = labs.pair(lab, EDGE, GATEWAY)[0]
    lab.impair(EDGE, relay, Impairment(blackhole=True), direction="a-to-b")
    took = wait("one way", lambda: link(lab, GATEWAY, EDGE, relay)["state"] == "one_way")
    assert link(lab, GATEWAY, EDGE, relay)["detail"] == f"{EDGE} hears {relay}, {relay} does not hear {EDGE}"
    figure("a block in one direction shown by the gateway after", f"{took:.1f} s")


def test_a_dead_intermediate_and_its_return(lab: RunningLab, figure: Callable[[str, object], None]) -> None:
    relay = labs.pair(lab, EDGE, GATEWAY)[0]
    began = time.time()
    lab.kill(relay)
    down = f"neighbour {relay} is down"
    took = wait(down, lambda: any(text.startswith(down) for text in said(lab, EDGE, began)))
    wait("no news of it", lambda: any(node["stale"] for node in lab.status("dns-1", "/overlay")["nodes"]))
    lab.start(relay)
    wait("all is well again", lambda: whole(lab, "dns-1"))
    figure("a killed intermediate named in /paths of the edge after", f"{took:.1f} s")
