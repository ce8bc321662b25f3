"""The topology and the counters that probing is measured with."""

from __future__ import annotations

from pathlib import Path

from bench import cpu
from bench.probing import LINKS, control, written
from topology.source import load


def test_edge_and_gateway_have_fifty_links(tmp_path: Path) -> None:
    found = load(written(tmp_path, LINKS))
    ends = [{link.a, link.b} for link in found.links]
    for end in ("edge", "gateway"):
        assert sum(end in link for link in ends) == LINKS
    assert len(found.nodes) == LINKS + 2


def test_seconds_of_the_control_side_count_on() -> None:
    neighbour = {"node": 21, "up": True, "tx_datagrams": 5, "rx_datagrams": 5}
    counters = {"neighbours": [neighbour], "paths": [], "received": [], "sessions": [], "drops": {}}
    found = control(counters, LINKS, 3)
    assert (found["seconds"], neighbour["tx_datagrams"]) == (3, 35)
    assert found["share_of_a_core"] > 0


def test_threads_are_found_by_their_name() -> None:
    own = Path("/proc/self/comm").read_text().strip()
    pid = int(Path("/proc/self/stat").read_text().split()[0])
    assert cpu.seconds_of_threads(pid, own) > 0
    assert cpu.seconds_of_threads(pid, "no such thread") == 0
