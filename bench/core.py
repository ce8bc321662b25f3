"""Figures of the core without a kernel around it, by ``braid-micro``: time per packet, memory per flow and session."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MANY_FLOWS = (
    "nat_known_flow_1e5",
    "nat_known_flow_1e6",
    "gateway_receives_64_bytes",
    "gateway_receives_64_bytes_1e6",
)
"""Take long to make ready, so they run by name only."""
SHARDED = ("edge_sends", "relay_forwards", "gateway_receives")
"""What nodes of one and of two shards do with the same packets; the time is the CPU time of the busier thread."""
SHARD_ROUNDS = 1600
"""Enough that a thread's first packets, for which nothing is in its caches, do not count much."""
NS, BYTES = "ns per packet", "bytes"
Measured = dict[tuple[str, str], float]
"""By name and unit."""


def speed(program: Path) -> Measured:
    return parse(_run(program, []))


def many_flows(program: Path) -> Measured:
    return parse(_run(program, MANY_FLOWS))


def shards(program: Path) -> Measured:
    return parse(
        _run(
            program,
            [f"shards_{count}_{what}" for what in SHARDED for count in (1, 2)] + ["--rounds", str(SHARD_ROUNDS)],
        )
    )


def memory(program: Path) -> Measured:
    return parse(_run(program, ["--memory"]))


def parse(lines: Iterable[str]) -> Measured:
    found: Measured = {}
    for line in lines:
        said = json.loads(line)
        if "bytes" in said:
            found[said["name"], BYTES] = float(said["bytes"])
        else:
            found[said["name"], NS] = float(said["nanoseconds_per_packet"])
    return found


def _run(program: Path, arguments: Sequence[str]) -> list[str]:
    if not program.exists():
        raise LabError(f"{program.name} is missing", "run make build")
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{program.name} {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")
    return done.stdout.splitlines()
