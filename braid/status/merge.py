"""The snapshots of a node's shards as one, each field by a rule of its own. Pure.

A node of one shard shows its counters as they are. What a rule here does not name is taken from the first shard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
Rule = Callable[[Sequence[Any]], Any]
"""From the values of a field, one of each shard that has it."""

SHARD_COUNTERS = ("tun_rx_packets", "tun_tx_packets", "udp_rx_datagrams", "udp_tx_datagrams", "handed_over")


def merge(snapshots: Sequence[Json]) -> dict[str, Any]:
    """One snapshot for the whole node, with ``shards``, a short entry for each. ValueError without any."""
    if not snapshots:
        raise ValueError("a node has at least one shard")
    merged = dict(snapshots[0]) if len(snapshots) == 1 else _by_rules(snapshots, _RULES)
    return merged | {"shards": [_shard(index, snapshot) for index, snapshot in enumerate(snapshots)]}


def _shard(index: int, snapshot: Json) -> dict[str, int]:
    io = snapshot.get("io", {})
    counters = {name: io.get(name, 0) for name in SHARD_COUNTERS}
    dropped = sum(snapshot.get("drops", {}).values())
    return {"index": index, "last_turn_ms": snapshot.get("last_turn_ms", 0), **counters, "dropped": dropped}


def _by_rules(values: Sequence[Json], rules: Mapping[str, Rule]) -> dict[str, Any]:
    names = dict.fromkeys(name for value in values for name in value)
    return {name: rules.get(name, _first)([value[name] for value in values if name in value]) for name in names}


def _first(values: Sequence[Any]) -> Any:
    return values[0]


def _worst(values: Sequence[Any]) -> Any:
    """The largest; None, for what one shard does not know, is worse than any."""
    return None if None in values else max(values)


def _most(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _reaches(values: Sequence[bool | None]) -> bool | None:
    """A path that is deaf in one lane loses the packets of that lane; None while a shard does not know yet."""
    if False in values:
        return False
    return None if None in values else True


def _sums(values: Sequence[Json]) -> dict[str, int]:
    names = dict.fromkeys(name for value in values for name in value)
    return {name: sum(value.get(name, 0) for value in values) for name in names}


def _nested(rules: Mapping[str, Rule]) -> Rule:
    """None where no shard has it."""

    def rule(values: Sequence[Json | None]) -> dict[str, Any] | None:
        present = [value for value in values if value is not None]
        return _by_rules(present, rules) if present else None

    return rule


def _sums_with(by_app: str) -> Rule:
    """``by_app`` names counters by application among the others."""

    def rule(values: Sequence[Json]) -> dict[str, Any]:
        plain = [{name: count for name, count in value.items() if name != by_app} for value in values]
        return _sums(plain) | {by_app: _sums([value.get(by_app, {}) for value in values])}

    return rule


def _listed(key: tuple[str, ...], rules: Mapping[str, Rule], everywhere: str = "") -> Rule:
    """Entries with equal keys become one. ``everywhere`` is a flag that is false unless every shard has the entry."""

    def rule(lists: Sequence[Sequence[Json]]) -> list[dict[str, Any]]:
        groups: dict[str, list[Json]] = {}
        for entries in lists:
            for entry in entries:
                groups.setdefault(repr([entry[name] for name in key]), []).append(entry)
        merged = []
        for group in groups.values():
            one = _by_rules(group, rules)
            if everywhere:
                one[everywhere] = one[everywhere] and len(group) == len(lists)
            merged.append(one)
        return merged

    return rule


def _joined(lists: Sequence[Sequence[Any]]) -> list[Any]:
    found: list[Any] = []
    for entries in lists:
        found += [entry for entry in entries if entry not in found]
    return found


def _health(values: Sequence[str]) -> str:
    """The worst: a path that is silent in one lane is of no use to its packets."""
    return max(values, key=("passing", "returning", "silent").index)


def _mtu_state(values: Sequence[str]) -> str:
    """The least that is known."""
    return max(values, key=("complete", "base", "searching", "error").index)


_MEASURED: dict[str, Rule] = {
    **dict.fromkeys(("rtt_us", "one_way_us", "one_way_error_us", "jitter_us", "loss"), _worst),
    **dict.fromkeys(("reported", "lost", "probes", "probes_lost", "loss_bursts"), sum),
}
_RULES: dict[str, Rule] = {
    "drops": _sums,
    "io": _sums,
    "nat": _sums_with("by_app"),
    "fast_path": _sums_with("waiting"),
    "relay": _sums,
    "owners": _sums,
    "offload": _nested({"udp_gso": all, "udp_gro": all, "tun_tso": all, "tun_uso": all, "fallbacks": sum}),
    "offloads": _listed(("name",), {"in_use": all, "errno": max}),
    "gso_refusals": _joined,
    "sockets": _joined,
    "last_turn_ms": max,
    "neighbours": _listed(
        ("node",),
        {
            "up": all,
            "heard_ms_ago": _worst,
            "tx_datagrams": sum,
            "rx_datagrams": sum,
            **_MEASURED,
        },
        everywhere="up",
    ),
    "sessions": _listed(
        ("peer", "adjacent"),
        {
            "usable": all,
            "age_s": min,
            "tx_packets": sum,
            "tx_bytes": sum,
            "heard_ms_ago": _worst,
            "skew_us": max,
            "given_up": sum,
            "late": sum,
            "window": _nested({"packets": _most, "bytes": sum, "margin": min, "capped": any}),
            "recovery": _nested(
                {
                    **dict.fromkeys(("passed", "discarded", "out_of_order", "rogue", "lost", "tagless"), sum),
                    **dict.fromkeys(("resets", "latent_errors"), max),
                }
            ),
        },
        everywhere="usable",
    ),
    "paths": _listed(
        ("peer", "id", "route"),
        {
            "in_use": any,
            "spare": any,
            "active": all,
            "health": _health,
            "arrives": _reaches,
            "copies_sent": sum,
            "bytes_sent": sum,
            "unsent": sum,
            "mtu": min,
            "mtu_state": _mtu_state,
            "mtu_ms_ago": min,
            "mtu_probes": sum,
            "mtu_probe_bytes": sum,
            **_MEASURED,
        },
    ),
    "sets": _listed(("peer", "set"), {"mtu": min}),
    "fragmented": sum,
    "passed_on": sum,
    "probing": _sums,
    "pairs": _listed(("peer", "a", "b"), {"probes": sum, "both_lost": sum}),
    "received": _listed(("peer", "id"), {"first": sum, "eliminated": sum, "reordered": sum}),
}
