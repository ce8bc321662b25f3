from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braid.app_numbers import AppNumbers
from braid.desired import Desired
from braid.role import Situation
from intermediate.node import Intermediate
from tests.delegations import situation
from topology.source import load

TOPOLOGY = load(Path("lab/demo.yaml"))


@dataclass
class OneLink:
    name: str

    def neighbour_up(self, name: str) -> bool:
        return name == self.name

    def peer_up(self, name: str) -> bool:
        return False

    def usable_paths(self, name: str) -> int:
        return 0

    def round_trips(self) -> dict[int, float]:
        return {}


def test_an_intermediate_knows_neighbours_and_nothing_else() -> None:
    role = Intermediate()
    assert not role.has_tun(TOPOLOGY, "mid-ams-1")
    assert role.peers(TOPOLOGY, "mid-ams-1") == {}
    assert role.captured(TOPOLOGY, "mid-ams-1") == ()
    assert role.complete(Desired(), situation(TOPOLOGY, "mid-ams-1"), AppNumbers()) == Desired()


def test_an_intermediate_is_ready_with_any_neighbour() -> None:
    role = Intermediate()
    for name, ok in (("gw-sto-1", True), ("edge-fra-1", True), ("mid-lon-1", False), ("", False)):
        (check,) = role.checks(Situation(TOPOLOGY, "mid-ams-1", OneLink(name)))
        assert check.ok is ok, name
