"""What both ends say brought together: links in one direction, lost copies, and what carries each application."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from braid.status.choices import choices
from braid.status.gossip import Known
from braid.status.overlay import overlay
from braid.status.summary import LinkReport, summary_of
from tests.braid.fake_node import edge_status, gateway_status, measured, overlay_of, small_topology

if TYPE_CHECKING:
    from braid.status.picture import LinkInfo, Overlay

WALL = 1_700_000_090.0


def links(seen: Overlay) -> dict[tuple[str, str], LinkInfo]:
    return {(link.a, link.b): link for link in seen.links}


def seen_with(middle: Any = None, **changes: Any) -> Overlay:
    """The edge and, if given, reports of mid-ams-1."""
    topology = small_topology()
    known = {11: Known(summary_of(edge_status(), topology, (), WALL), 100.0, 2.0, 1)}
    if middle is not None:
        said = replace(known[11].summary, origin=21, links=middle, paths=(), arrivals=(), applications=())
        known[21] = Known(said, changes.get("heard", 100.0), 2.0, 1)
    return overlay(topology, "edge-fra-1", known, 100.0, WALL)


def test_a_link_that_only_one_end_hears_is_one_way() -> None:
    deaf = LinkReport(11, False, 7, None, None, None)
    link = links(seen_with((deaf,)))["edge-fra-1", "mid-ams-1"]
    assert (link.state, link.since) == ("one_way", WALL - 7)
    assert link.detail == "edge-fra-1 hears mid-ams-1, mid-ams-1 does not hear edge-fra-1"
    assert link.rtt_ms is None


def test_a_link_is_up_or_down_when_nobody_objects() -> None:
    hears = LinkReport(11, True, 7, None, None, None)
    seen = links(seen_with((hears,)))
    assert seen["edge-fra-1", "mid-ams-1"].state == "up"
    assert seen["edge-fra-1", "mid-ams-1"].rtt_ms == 12.25
    assert (seen["edge-fra-1", "mid-lon-1"].state, seen["edge-fra-1", "mid-lon-1"].loss) == ("down", None)


def test_old_news_decide_nothing() -> None:
    deaf = LinkReport(11, False, 7, None, None, None)
    seen = seen_with((deaf,), heard=80.0)
    assert links(seen)["edge-fra-1", "mid-ams-1"].state == "up"
    nodes = {node.name: node for node in seen.nodes}
    assert (nodes["mid-ams-1"].age_s, nodes["mid-ams-1"].stale) == (20.0, True)
    assert (nodes["mid-lon-1"].age_s, nodes["mid-lon-1"].ready) == (None, None)


def test_strange_numbers_are_left_out() -> None:
    strange = LinkReport(999, True, 7, None, None, None)
    assert ("edge-fra-1", "#999") not in links(seen_with((strange, replace(strange, neighbour=21))))
    assert len(links(seen_with((strange,)))) == 2


def test_both_ends_of_a_path_make_its_loss() -> None:
    seen = overlay_of((edge_status(), gateway_status()), "gw-sto-1")
    found = {(path.source, path.regions[0]): (path.sent, path.kept, path.eliminated, path.lost) for path in seen.paths}
    assert found == {
        ("edge-fra-1", "mid-ams"): (1000, 800, 190, 10),
        ("edge-fra-1", "mid-lon"): (995, 195, 780, 20),
        ("gw-sto-1", "mid-ams"): (989, 700, 285, 4),
    }
    assert all(path.loss is None and path.jitter_ms is None and path.one_way_ms is None for path in seen.paths)


def test_counters_of_different_lives_and_of_one_end_give_no_loss() -> None:
    assert {path.lost for path in overlay_of((edge_status(), gateway_status(started_at=0.0)), "edge-fra-1").paths} == {
        None
    }
    (ams, lon) = overlay_of((edge_status(),), "edge-fra-1").paths
    assert (ams.kept, ams.lost, lon.kept) == (None, None, None)


def test_each_application_in_both_directions_worst_first() -> None:
    up = {(31, 0): measured(True), (31, 1): measured(True)}
    seen = overlay_of((edge_status(path_health=up), gateway_status()), "edge-fra-1")
    back, there = choices(seen)
    assert (there.direction, there.state, there.sentence) == ("to_gateway", "protected", "protected by 2 of 2")
    assert (back.direction, back.state, back.sentence) == ("to_edge", "reduced", "protected by 1 of 2")
    assert [path.route for path in there.paths] == [("mid-ams-1", "gw-sto-1"), ("mid-lon-1", "gw-sto-1")]
    assert (there.why, there.joint_loss, there.joint_probes) == (
        "cheapest disjoint pair; no other choice",
        0.0006,
        5000,
    )
    # Of both paths 1995 copies were sent and 1965 came; nothing was lost altogether.
    assert (there.passed, there.lost, there.repaired) == (995, 0, 30)
    assert (back.why, back.joint_loss) == ("cheapest path", None)
    assert (back.passed, back.eliminated, back.out_of_order, back.lost) == (990, 985, 4, 2)
    assert choices(seen, "mid-ams-1") == ()


def test_what_was_not_heard_of_is_unknown() -> None:
    up = {(31, 0): measured(True), (31, 1): measured(True)}
    back, there = choices(overlay_of((edge_status(path_health=up),), "edge-fra-1"))
    assert (back.state, back.sentence, back.paths) == ("unknown", "nothing was heard of it lately", ())
    assert there.state == "protected"
