"""What Braid wants to reach, and whether it does: each row compares figures of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import figures
from bench.core import SHARDED
from bench.figures import BRAID_1, BRAID_2, KERNEL, WIREGUARD, WITH_OFFLOAD, Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    least: str
    goal: str
    measured: str
    met: str
    """"goal", "at least", "no" or NOT_MEASURED."""


@dataclass(frozen=True, slots=True)
class _Bar:
    """Numbers that a value is held against, and how they are written."""

    what: str
    least: float
    goal: float
    write: str
    """A format with one place for a number."""
    more_is_better: bool = True

    def row(self, value: float | None, text: str | None = None) -> Row:
        """``text`` is what is shown for the value, if it says more than the value itself."""
        shown = NOT_MEASURED if value is None else text or self.write.format(value)
        return Row(self.what, self.write.format(self.least), self.write.format(self.goal), shown, self._met(value))

    def _met(self, value: float | None) -> str:
        if value is None:
            return NOT_MEASURED
        sign = 1 if self.more_is_better else -1
        if sign * value >= sign * self.goal:
            return "goal"
        return "at least" if sign * value >= sign * self.least else "no"


def rows(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """Judged by medians; of two directions by the worse one."""
    return (*_throughput(document), *_delay(document), *_core(document))


def _throughput(document: Mapping[str, Any]) -> Iterator[Row]:
    yield _directions(document, BRAID_2, WIREGUARD, _Bar("TCP 1 flow: Braid 2 copies / wireguard-go", 1.2, 2, "{:g} x"))
    yield _directions(document, BRAID_1, WIREGUARD, _Bar("TCP 1 flow: Braid 1 copy / wireguard-go", 1.6, 2.5, "{:g} x"))
    yield _directions(
        document, BRAID_2, KERNEL, _Bar("TCP 1 flow: Braid 2 copies / kernel forwarding", 0.22, 0.4, "{:g}")
    )
    large = _ratio(document, figures.udp(1400), BRAID_2, WIREGUARD)
    bar = _Bar("UDP 1400 bytes at < 0.1 % loss: Braid 2 copies / wireguard-go", 2, 4, "{:g} x")
    yield bar.row(large, f"{large:.2f} x" if large else None)
    small = _median(document, BRAID_2, figures.udp(64))
    yield _Bar("UDP 64 bytes, Braid 2 copies, packets/s", 100_000, 200_000, "{:,.0f}").row(small and small * 1000)
    relay = _of_core(document, "relay_forwards")
    carried = _median(document, BRAID_1, figures.RELAYED)
    text = carried and relay and f"{carried:.1f} Gbit/s with sockets; {1400 * 8 / relay:.1f} the core alone"
    yield _Bar("intermediate, per second of one core, 1400 bytes", 10, 20, "{:g} Gbit/s").row(carried, text or None)


def _directions(document: Mapping[str, Any], ours: str, theirs: str, bar: _Bar) -> Row:
    found = [_ratio(document, figures.tcp(direction, 1), ours, theirs) for direction in ("up", "down")]
    up, down = found
    if up is None or down is None:
        return bar.row(None)
    return bar.row(min(up, down), f"{up:.2f} up, {down:.2f} down")


def _delay(document: Mapping[str, Any]) -> Iterator[Row]:
    for part, least, goal in (("p50", 150, 80), ("p99", 400, 200)):
        figure = figures.round_trip("idle", part)
        ours, kernel = _median(document, BRAID_2, figure), _median(document, KERNEL, figure)
        added = None if ours is None or kernel is None else ours - kernel
        what = f"round trip added by the overlay, idle, {part}"
        yield _Bar(what, least, goal, "{:.0f} us", more_is_better=False).row(added)
    loaded = _median(document, BRAID_2, figures.round_trip("under load", "p99"))
    bar = _Bar("round trip under full TCP load, p99", 5, 2, "{:.3g} ms", more_is_better=False)
    yield bar.row(loaded and loaded / 1000)


def _core(document: Mapping[str, Any]) -> Iterator[Row]:
    seen = _of_core(document, "window_seen")
    yield _Bar("seen-check of an eliminated copy", 30, 10, "{:.1f} ns", more_is_better=False).row(seen)
    flow, session = _of_core(document, "memory_per_flow_1e6"), _of_core(document, "memory_per_session")
    yield _Bar("memory per flow at 10^6 flows, table included", 256, 128, "{:.0f} B", more_is_better=False).row(flow)
    bar = _Bar("memory per session", 64, 32, "{:.1f} KiB", more_is_better=False)
    yield bar.row(session and session / 1024)
    one, many = _of_core(document, "gateway_receives_64_bytes"), _of_core(document, "gateway_receives_64_bytes_1e6")
    nat_one, nat_many = _of_core(document, "nat_known_flow"), _of_core(document, "nat_known_flow_1e6")
    held = one / many if one and many else None
    text = f"{held:.2f}; its NAT by itself {nat_one / nat_many:.2f}" if held and nat_one and nat_many else None
    yield _Bar("10^6 flows in the gateway's core, 64 bytes: throughput / 1 flow", 0.7, 0.9, "{:g}").row(held, text)
    new = _of_core(document, "nat_new_flow")
    yield _Bar("new flows per second (UDP, one core, the NAT alone)", 200_000, 500_000, "{:,.0f}").row(
        new and 1e9 / new
    )
    yield _shards(document)


def _shards(document: Mapping[str, Any]) -> Row:
    """The worst of the roles counts."""
    bar = _Bar("shards 1 -> 2 on 2 cores, the core alone", 1.6, 1.9, "{:g} x")
    gains = {}
    for what in SHARDED:
        one, two = _of_core(document, f"shards_1_{what}"), _of_core(document, f"shards_2_{what}")
        if not one or not two:
            return bar.row(None)
        gains[what.partition("_")[0]] = one / two
    return bar.row(min(gains.values()), ", ".join(f"{gain:.2f} {role}" for role, gain in gains.items()))


def _median(document: Mapping[str, Any], contender: str, figure: Figure) -> float | None:
    found = document["groups"].get(WITH_OFFLOAD, {}).get(contender, {}).get(figure.name)
    return None if found is None else float(found["median"])


def _ratio(document: Mapping[str, Any], figure: Figure, ours: str, theirs: str) -> float | None:
    above, below = _median(document, ours, figure), _median(document, theirs, figure)
    return above / below if above is not None and below else None


def _of_core(document: Mapping[str, Any], name: str) -> float | None:
    found = document["core"].get(name)
    return float(found["median"]) if found else None
