from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from braid.joint import Counts, JointLosses
from topology.source import load

TOPOLOGY = load(Path("lab/demo.yaml"))
PEER = int(TOPOLOGY.nodes["gw-sto-1"].number)
AMS, LON, PAR = (int(TOPOLOGY.nodes[f"mid-{name}-1"].number) for name in ("ams", "lon", "par"))


class World:
    """Three paths; a shared loss hits the first two at once, and each path loses probes of its own."""

    def __init__(self, seed: int, shared: float, own: float) -> None:
        self.rng = Random(seed)
        self.shared, self.own = shared, own
        self.lost = [0, 0, 0]
        self.both = {(0, 1): 0, (0, 2): 0, (1, 2): 0}
        self.probes = 0
        self.joint = JointLosses()

    def run(self, seconds: int) -> dict[tuple[str, str], float]:
        """Charges at the end."""
        for tick in range(10 * seconds):
            common = self.rng.random() < self.shared
            gone = [(common and path < 2) or self.rng.random() < self.own for path in range(3)]
            self.probes += 1
            for path in range(3):
                self.lost[path] += gone[path]
            for a, b in self.both:
                self.both[a, b] += gone[a] and gone[b]
            if tick % 5 == 4:
                self.joint.observe(self.snapshot(), self.probes / 10)
                self.joint.costs(TOPOLOGY)
        return self.joint.charged

    def snapshot(self) -> dict[str, Any]:
        vias = (AMS, LON, PAR)
        return {
            "paths": [
                {"peer": PEER, "id": n, "route": [vias[n], PEER], "probes": self.probes, "probes_lost": self.lost[n]}
                for n in range(3)
            ],
            "pairs": [
                {"peer": PEER, "a": a, "b": b, "probes": self.probes, "both_lost": lost}
                for (a, b), lost in self.both.items()
            ],
        }


def test_paths_that_lose_together_are_charged_within_a_minute() -> None:
    found = 0
    for seed in range(40):
        charged = World(seed, shared=0.006, own=0.004).run(60)
        assert charged.keys() <= {("mid-ams", "mid-lon")}
        found += bool(charged)
        if charged:
            # 0.6 % lost together weigh as much as 600 ms.
            assert 100 < charged["mid-ams", "mid-lon"] < 2500
    # Of 3.6 joint losses expected in a minute, fewer than two come in one minute of ten.
    assert found >= 28


def test_independent_paths_are_not() -> None:
    for seed in range(30):
        assert World(seed, shared=0.0, own=0.05).run(120) == {}


def test_joint_loss_is_counted_and_a_charge_ends_when_it_is_history() -> None:
    world = World(1, shared=0.05, own=0.0)
    assert world.run(60).keys() == {("mid-ams", "mid-lon")}
    counts = world.joint.of(PEER, [(AMS, PEER), (LON, PEER)])
    assert counts.probes == 600
    assert counts.loss == pytest.approx(0.05, abs=0.03)
    assert world.joint.of(PEER, [(PAR, PEER), (LON, PEER)]).loss == 0
    assert world.joint.of(PEER, [(PAR, PEER)]) == Counts()
    world.shared = 0.0
    assert world.run(560).keys() == {("mid-ams", "mid-lon")}
    assert world.run(120) == {}


def test_counts_that_begin_anew_are_no_losses() -> None:
    world = World(2, shared=0.0, own=0.0)
    world.run(30)
    world.probes, world.lost = 10, [0, 0, 0]
    world.joint.observe(world.snapshot(), 40.0)
    assert world.joint.of(PEER, [(AMS, PEER), (LON, PEER)]) == Counts(10)
    assert world.joint.of(PEER, []).loss is None
