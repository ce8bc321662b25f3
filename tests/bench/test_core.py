"""Lines of braid-micro."""

from __future__ import annotations

from bench.core import BYTES, NS, parse


def test_times_and_sizes_are_told_apart() -> None:
    lines = ['{"name":"a","packets":10,"nanoseconds_per_packet":2.5}', '{"name":"memory_per_flow_1e6","bytes":170.25}']
    assert parse(lines) == {("a", NS): 2.5, ("memory_per_flow_1e6", BYTES): 170.25}
