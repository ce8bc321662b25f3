"""Snapshots of shards become one of the node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from braid.status.merge import SHARD_COUNTERS, merge

ONE: dict[str, Any] = {
    "drops": {"replay": 2},
    "io": {"tun_rx_packets": 10, "handed_over": 3},
    "offload": {"udp_gso": True, "fallbacks": 1},
    "offloads": [{"name": "udp_gso", "wanted": True, "probe": "works", "in_use": True, "errno": 0}],
    "sockets": [{"address": "10.0.0.1:7400"}],
    "nat": {"flows": 5, "created": 9, "by_app": {"0": 5}},
    "fast_path": {"taken": 4, "waiting": {"0": 2}},
    "neighbours": [
        {"node": 21, "up": True, "rtt_us": 900, "heard_ms_ago": 5, "tx_datagrams": 7, "rx_datagrams": 8, "address": "a"}
    ],
    "sessions": [
        {
            "peer": 31, "adjacent": False, "epoch": 3, "age_s": 9, "usable": True, "heard_ms_ago": 4, "tx_packets": 100,
            "tx_bytes": 1000, "skew_us": 30, "given_up": 1, "late": 0,
            "window": {"packets": 4032, "bytes": 512, "margin": 0.9, "capped": False},
            "recovery": {"passed": 50, "discarded": 40, "lost": 1, "resets": 1},
        }
    ],
    "paths": [{"peer": 31, "id": 0, "route": [21, 31], "in_use": True, "arrives": True, "copies_sent": 100,
               "mtu": 1420, "mtu_state": "complete", "mtu_ms_ago": 900, "mtu_probe_bytes": 3000}],
    "sets": [{"peer": 31, "set": 2, "mtu": 1420, "active": [0]}],
    "fragmented": 2,
    "probing": {"datagrams": 10, "bytes": 1300},
    "received": [{"peer": 31, "id": 0, "via": 21, "first": 50, "eliminated": 40}],
    "last_turn_ms": 3,
}  # fmt: skip


def other(**changes: Any) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(ONE))
    for place, value in changes.items():
        part, _, name = place.partition("__")
        if name:
            changed[part][0][name] = value
        else:
            changed[part] = value
    return changed


def test_one_shard_is_shown_as_it_is() -> None:
    merged = merge([ONE])
    assert {name: value for name, value in merged.items() if name != "shards"} == ONE
    assert merged["shards"] == [
        dict.fromkeys(SHARD_COUNTERS, 0)
        | {"index": 0, "last_turn_ms": 3, "tun_rx_packets": 10, "handed_over": 3, "dropped": 2}
    ]


def test_counters_are_added() -> None:
    merged = merge([ONE, other(drops={"replay": 1, "hop_tag": 4}, nat={"flows": 2, "created": 2, "by_app": {"1": 2}})])
    assert merged["drops"] == {"replay": 3, "hop_tag": 4}
    assert merged["io"] == {"tun_rx_packets": 20, "handed_over": 6}
    assert merged["nat"] == {"flows": 7, "created": 11, "by_app": {"0": 5, "1": 2}}
    assert merged["fast_path"] == {"taken": 8, "waiting": {"0": 4}}
    assert merged["probing"] == {"datagrams": 20, "bytes": 2600}
    assert (merged["fragmented"], merged["paths"][0]["mtu_probe_bytes"]) == (4, 6000)
    (session,), (path,), (received,) = merged["sessions"], merged["paths"], merged["received"]
    assert (session["tx_packets"], session["recovery"]["passed"], session["recovery"]["lost"]) == (200, 100, 2)
    assert (path["copies_sent"], received["first"], received["eliminated"], received["via"]) == (200, 100, 80, 21)


def test_what_happens_once_for_all_shards_is_not_added() -> None:
    (session,) = merge([ONE, other(sessions__age_s=4, sessions__skew_us=90)])["sessions"]
    assert (session["epoch"], session["recovery"]["resets"], session["age_s"], session["skew_us"]) == (3, 1, 4, 90)


def test_of_recovery_windows_the_worst_is_shown_and_their_memory_added() -> None:
    window = {"packets": None, "bytes": 8192, "margin": 0.2, "capped": True}
    (session,) = merge([ONE, other(sessions__window=window)])["sessions"]
    assert session["window"] == {"packets": 4032, "bytes": 8704, "margin": 0.2, "capped": True}
    (session,) = merge([other(sessions__window=None), other(sessions__window=None)])["sessions"]
    assert session["window"] is None


@pytest.mark.parametrize(
    ("changes", "part", "field", "value"),
    [
        ({"neighbours__up": False}, "neighbours", "up", False),
        ({"neighbours": []}, "neighbours", "up", False),
        ({"neighbours__heard_ms_ago": 800}, "neighbours", "heard_ms_ago", 800),
        ({"neighbours__heard_ms_ago": None}, "neighbours", "heard_ms_ago", None),
        ({"sessions__usable": False}, "sessions", "usable", False),
        ({"sessions": []}, "sessions", "usable", False),
        ({"paths__arrives": False}, "paths", "arrives", False),
        ({"paths__arrives": None}, "paths", "arrives", None),
        ({"paths__mtu": 1280}, "paths", "mtu", 1280),
        ({"paths__mtu_state": "searching"}, "paths", "mtu_state", "searching"),
        ({"sets__mtu": 1280}, "sets", "mtu", 1280),
        ({"offloads__in_use": False}, "offloads", "in_use", False),
    ],
)
def test_the_node_is_no_better_than_its_worst_shard(
    changes: dict[str, Any], part: str, field: str, value: object
) -> None:
    for snapshots in ([ONE, other(**changes)], [other(**changes), ONE]):
        (entry,) = merge(snapshots)[part]
        assert entry[field] == value


def test_each_shard_has_its_line() -> None:
    merged = merge([ONE, other(last_turn_ms=40, drops={}), ONE])
    assert [(shard["index"], shard["last_turn_ms"], shard["dropped"]) for shard in merged["shards"]] == [
        (0, 3, 2), (1, 40, 0), (2, 3, 2),
    ]  # fmt: skip
    assert merged["last_turn_ms"] == 40
    assert merged["sockets"] == [{"address": "10.0.0.1:7400"}]


def test_a_node_without_shards_is_a_bug() -> None:
    with pytest.raises(ValueError, match="at least one"):
        merge([])


def test_what_is_measured_of_a_path_is_that_of_its_worst_lane_and_the_sum_of_its_counts() -> None:
    known = {"rtt_us": 900, "loss": 0.0, "reported": 100, "lost": 1, "health": "passing", "active": True}
    path = ONE["paths"][0]
    one, two = (
        other(paths=[path | known | changes], pairs=[{"peer": 31, "a": 0, "b": 1, "probes": 10, "both_lost": 1}])
        for changes in ({}, {"rtt_us": 1200, "loss": 0.2, "lost": 20, "health": "silent", "active": False})
    )
    merged = merge([one, two])
    (found,) = merged["paths"]
    assert {name: found[name] for name in known} == {
        "rtt_us": 1200,
        "loss": 0.2,
        "reported": 200,
        "lost": 21,
        "health": "silent",
        "active": False,
    }
    assert merged["pairs"] == [{"peer": 31, "a": 0, "b": 1, "probes": 20, "both_lost": 2}]
