from __future__ import annotations

from pathlib import Path

from braid.measured import own_links, own_paths, told
from braid.status.summary import LinkReport, Summary
from topology.held import Measure
from topology.source import load

TOPOLOGY = load(Path("lab/demo.yaml"))
EDGE = "edge-fra-1"


def number(name: str) -> int:
    return int(TOPOLOGY.nodes[name].number)


def test_own_links_are_those_that_are_up_with_half_the_round_trip() -> None:
    snapshot = {
        "neighbours": [
            {"node": number("mid-ams-1"), "up": True, "rtt_us": 30_000, "loss": 0.01},
            {"node": number("mid-lon-1"), "up": False, "rtt_us": 30_000, "loss": 0.01},
            {"node": number("mid-par-1"), "up": True},
            {"node": 9, "up": True, "rtt_us": 1},
        ]
    }
    assert own_links(TOPOLOGY, EDGE, snapshot["neighbours"]) == {
        (EDGE, "mid-ams-1"): Measure(15.0, 0.01),
        (EDGE, "mid-par-1"): Measure(None, None),
    }
    assert own_links(TOPOLOGY, EDGE, ()) == {}


def test_own_paths_are_those_that_are_measured_and_arrive() -> None:
    gateway = number("gw-sto-1")

    def path(via: int, **more: object) -> dict[str, object]:
        return {"route": [via, gateway], "rtt_us": 40_000, "loss": 0.5, "arrives": True} | more

    snapshot = {
        "paths": [
            path(number("mid-ams-1")),
            path(number("mid-lon-1"), arrives=False),
            path(number("mid-par-1"), loss=None),
            path(77),
        ]
    }
    assert own_paths(TOPOLOGY, EDGE, snapshot) == {(EDGE, "mid-ams-1", "gw-sto-1"): Measure(40.0, 0.5)}


def test_others_are_heard_about_their_own_links_and_load() -> None:
    gateway = number("gw-sto-1")
    links = (
        LinkReport(gateway, True, 1, 30_000, None, 100_000),
        LinkReport(number("edge-nyc-1"), False, 1, 30_000, None, 0),
        LinkReport(9, True, 1, 1, None, 0),
    )
    summary = Summary(number("mid-ams-1"), True, False, False, "", 1, "", links, load_permille=250)
    stranger = Summary(9, True, False, False, "", 1, "", links, load_permille=250)
    found = told(TOPOLOGY, [summary, stranger])
    assert found.links == {("mid-ams-1", "gw-sto-1"): Measure(15.0, 0.1)}
    assert found.loads == {"mid-ams-1": 0.25}
