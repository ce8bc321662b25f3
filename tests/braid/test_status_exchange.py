"""Whole nodes over fake cores: each hears of all others through its neighbours, and survives what is no summary."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import trio
import trio.testing

from braid import pki
from braid.view import Loaded, View
from tests.braid.test_node import DEMO, START, Braid, settle
from topology.source import load

if TYPE_CHECKING:
    from pathlib import Path

WALL = 1_700_000_000.0


def views_of(braid: Braid) -> dict[str, View]:
    return {
        name: View(
            control, Loaded("abc", WALL), Random(1), trio.current_time, lambda: WALL + trio.current_time(), lambda: 0.0
        )
        for name, control in braid.nodes.items()
    }


async def beat(views: dict[str, View], seconds: int) -> None:
    for _ in range(seconds):
        for view in views.values():
            for _ in view.record(trio.current_time()):
                pass
        await settle(1)


async def test_every_node_knows_all_others_and_forgets_a_dead_one(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    pki.init(load(DEMO), tmp_path, START)
    braid = Braid(tmp_path, nursery)
    braid.start_all()
    await settle(1)
    views = views_of(braid)
    await beat(views, 5)
    for view in views.values():
        seen, _ = view.overlay()
        assert [node.name for node in seen.nodes if node.stale] == []
        assert view.snapshot().summaries["known"] == 8
    await braid.kill("mid-lon-1")
    del views["mid-lon-1"]
    await beat(views, 12)
    for view in views.values():
        assert [node.name for node in view.overlay()[0].nodes if node.stale] == ["mid-lon-1"]
    await beat(views, 30)
    lost = [node for node in views["dns-1"].overlay()[0].nodes if node.name == "mid-lon-1"]
    assert [(node.age_s, node.ready) for node in lost] == [(None, None)]
    nursery.cancel_scope.cancel()


async def test_what_is_no_summary_is_counted_or_the_roles(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    pki.init(load(DEMO), tmp_path, START)
    braid = Braid(tmp_path, nursery)
    braid.start_all()
    await settle(1)
    views = views_of(braid)
    core, edge = braid.cores["dns-1"], braid.number("edge-fra-1")
    before = views["dns-1"].snapshot().dns["bad_messages"]
    core.push(("control", edge, True, b"\x01\x02" + b"\xff" * 100))
    core.push(("control", edge, True, b"\x01\x77"))
    await settle(0.1)
    status = views["dns-1"].snapshot()
    assert status.summaries["bad"] == 1
    assert status.dns["bad_messages"] == before + 1
    nursery.cancel_scope.cancel()
