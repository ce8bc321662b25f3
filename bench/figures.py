"""The figures that are taken of each contender: names, units, and how many digits tell something."""

from __future__ import annotations

from dataclasses import dataclass

FLOWS = (1, 8)
SIZES = (64, 512, 1400)
"""Bytes of a UDP packet, its IP header included."""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    digits: int


def tcp(direction: str, flows: int) -> Figure:
    """``direction`` is "up" (client to origin) or "down"."""
    return Figure(f"TCP {direction}, {flows} flow{'s' if flows > 1 else ''}", "Gbit/s", 2)


def udp(size: int) -> Figure:
    """Delivered at a loss below 0.1 %."""
    return Figure(f"UDP up, {size} bytes", "1000/s", 1)


def cpu(node: str) -> Figure:
    """``node`` is "edge", "intermediates" (all of them together) or "gateway"."""
    return Figure(f"CPU per packet of 1400 bytes, {node}", "us", 2)


def round_trip(state: str, part: str) -> Figure:
    """``state`` is "idle" or "under load", ``part`` is "p50" or "p99"."""
    return Figure(f"round trip {state}, {part}", "us", 0)


RELAYED = Figure("TCP up, 1 flow: carried per CPU second of the intermediates", "Gbit", 1)

WITH_OFFLOAD = "veth with segmentation offload"
WITHOUT_OFFLOAD = "veth without segmentation offload"

KERNEL, BRAID_2, BRAID_1, WIREGUARD, NEBULA = "kernel", "braid-2", "braid-1", "wireguard-go", "nebula"
"""Contenders, by the keys that they have in results.json."""
